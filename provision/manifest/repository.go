package manifest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	gitcache "github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// files are the files of a repository by their slash-separated paths, each read
// when it is needed.
type files map[string]func() ([]byte, error)

// files reads the repository at the commit, or the folder in its place.
func (s Source) files(ctx context.Context, cache string) (files, error) {
	if s.Local != "" {
		return folder(s.Local)
	}
	sum := sha256.Sum256([]byte(s.Repository + "@" + s.Commit))
	kept := filepath.Join(cache, hex.EncodeToString(sum[:16]))
	if found, err := checkout(kept, s.Commit); err == nil {
		return found, nil
	} // not stored, or damaged
	if err := s.clone(ctx, kept); err != nil {
		return nil, err
	}
	return checkout(kept, s.Commit)
}

// clone stores the commit without its history, in one step: another devenv may
// read it meanwhile.
func (s Source) clone(ctx context.Context, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	temporary, err := os.MkdirTemp(filepath.Dir(to), ".fetch-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	ctx, cancel := context.WithTimeoutCause(ctx, fetchLimit, fmt.Errorf("the limit of %s was reached", fetchLimit))
	defer cancel()
	remote := git.NewRemote(open(temporary), &config.RemoteConfig{Name: "origin", URLs: []string{s.Repository}})
	// not every server gives a commit by its hash; where one does not, it may be
	// in a branch
	err = remote.FetchContext(ctx, &git.FetchOptions{RefSpecs: []config.RefSpec{config.RefSpec(s.Commit + ":refs/heads/pinned")}, Depth: 1, Tags: git.NoTags})
	if errors.Is(err, git.ErrExactSHA1NotSupported) {
		err = remote.FetchContext(ctx, &git.FetchOptions{RefSpecs: []config.RefSpec{"+refs/heads/*:refs/heads/*"}, Tags: git.NoTags})
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("git fetch: %w", err)
	}
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := os.Rename(temporary, to); err != nil {
		if _, readErr := checkout(to, s.Commit); readErr == nil { // another was quicker
			return nil
		}
		return err
	}
	return nil
}

func open(folder string) *filesystem.Storage {
	return filesystem.NewStorage(osfs.New(folder), gitcache.NewObjectLRUDefault())
}

// checkout finds a commit's files. Every object is held against its hash, from
// the commit down, when it is read.
func checkout(folder, commit string) (files, error) {
	storage := open(folder)
	root, err := verified(storage, plumbing.CommitObject, plumbing.NewHash(commit))
	if err != nil {
		return nil, fmt.Errorf("it has no commit %s: %w", commit, err)
	}
	c, err := object.DecodeCommit(storage, root)
	if err != nil {
		return nil, err
	}
	found := files{}
	return found, readTree(storage, c.TreeHash, "", found)
}

func readTree(storage *filesystem.Storage, hash plumbing.Hash, at string, into files) error {
	encoded, err := verified(storage, plumbing.TreeObject, hash)
	if err != nil {
		return err
	}
	tree, err := object.DecodeTree(storage, encoded)
	if err != nil {
		return err
	}
	for _, entry := range tree.Entries {
		name := path.Join(at, entry.Name)
		switch {
		case entry.Mode == filemode.Dir:
			err = readTree(storage, entry.Hash, name, into)
		case entry.Mode.IsRegular() || entry.Mode == filemode.Executable:
			into[name] = func() ([]byte, error) { return readBlob(storage, entry.Hash) }
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func readBlob(storage *filesystem.Storage, hash plumbing.Hash) ([]byte, error) {
	encoded, err := verified(storage, plumbing.BlobObject, hash)
	if err != nil {
		return nil, err
	}
	return content(encoded)
}

// verified reads an object, whose hash is computed: the store believes its index.
func verified(storage *filesystem.Storage, kind plumbing.ObjectType, hash plumbing.Hash) (plumbing.EncodedObject, error) {
	encoded, err := storage.EncodedObject(kind, hash)
	if err != nil {
		return nil, err
	}
	text, err := content(encoded)
	if err != nil {
		return nil, err
	}
	if have := plumbing.ComputeHash(kind, text); have != hash {
		return nil, fmt.Errorf("the stored object %s has the hash %s", hash, have)
	}
	return encoded, nil
}

func content(encoded plumbing.EncodedObject) ([]byte, error) {
	reader, err := encoded.Reader()
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	return io.ReadAll(io.LimitReader(reader, sizeLimit))
}

// folder finds the files of a folder that stands in a repository's place.
func folder(root string) (files, error) {
	found := files{}
	return found, filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err == nil {
			found[filepath.ToSlash(relative)] = func() ([]byte, error) { return os.ReadFile(name) }
		}
		return err
	})
}

// at are the texts of the objects at a path: a file, a kustomization, or the
// YAML files of a folder in the order of their names.
func (f files) at(where string) ([][]byte, error) {
	where = strings.Trim(path.Clean("/"+where), "/")
	if read, ok := f[where]; ok {
		text, err := read()
		return [][]byte{text}, err
	}
	inside := func(name string) bool { return where == "" && path.Dir(name) == "." || path.Dir(name) == where }
	var texts [][]byte
	for _, name := range slices.Sorted(maps.Keys(f)) {
		switch {
		case !inside(name):
		case isKustomization(name):
			text, err := f.kustomize(where)
			return [][]byte{text}, err
		case path.Ext(name) == ".yaml" || path.Ext(name) == ".yml":
			text, err := f[name]()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			texts = append(texts, text)
		}
	}
	if len(texts) == 0 {
		return nil, fmt.Errorf("it has no YAML file and no folder of YAML files at %q", where)
	}
	return texts, nil
}

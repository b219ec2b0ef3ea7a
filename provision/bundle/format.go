// Package bundle puts all that an environment is made of into one file, for
// machines without a network: images, programs, charts, manifests, the profile,
// and a sources file that names them.
//
// The file is a tar archive compressed with zstd. Its first entry is manifest.json
// with the SHA-256 of every other one.
package bundle

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// Names of files in a bundle.
const (
	manifestFile = "manifest.json"
	profileFile  = "profile.yaml"
	sourcesFile  = "sources.yaml"
)

// Manifest is what a bundle says of itself.
type Manifest struct {
	// Devenv is the version that wrote it.
	Devenv string `json:"devenv"`
	// Platform of the images and programs, as in linux/amd64.
	Platform string `json:"platform"`
	// Profile is its name, and Runtime the one that the bundle is for.
	Profile string `json:"profile"`
	Runtime string `json:"runtime"`
	// Files by their slash-separated paths, in order.
	Files []File `json:"files"`
}

// File is one of a bundle.
type File struct {
	Path string `json:"path"`
	// Size in bytes.
	Size int64 `json:"size"`
	// SHA256 in hex.
	SHA256 string `json:"sha256"`
	// Program says that it can be executed.
	Program bool `json:"program,omitempty"`
}

// Opened is a bundle whose files were verified and unpacked.
type Opened struct {
	Manifest
	folder string
}

// Profile is the path of the bundle's profile, Sources that of its sources file.
func (o *Opened) Profile() string { return filepath.Join(o.folder, profileFile) }

// Sources is described at Profile.
func (o *Opened) Sources() string { return filepath.Join(o.folder, sourcesFile) }

// pack writes a folder as a bundle, in one step.
func pack(ctx context.Context, m Manifest, folder, file string) (err error) {
	if m.Files, err = list(ctx, folder); err != nil {
		return err
	}
	out, err := os.CreateTemp(filepath.Dir(file), ".bundle-*")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	compressed, err := zstd.NewWriter(out)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(compressed)
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := archive.WriteHeader(&tar.Header{Name: manifestFile, Mode: 0o644, Size: int64(len(text))}); err != nil {
		return err
	}
	if _, err := archive.Write(text); err != nil {
		return err
	}
	for _, f := range m.Files {
		if err := archive.WriteHeader(&tar.Header{Name: f.Path, Mode: 0o644, Size: f.Size}); err != nil {
			return err
		}
		if err := copyFrom(ctx, archive, filepath.Join(folder, filepath.FromSlash(f.Path))); err != nil {
			return err
		}
	}
	if err := errors.Join(archive.Close(), compressed.Close(), out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), file)
}

func list(ctx context.Context, folder string) ([]File, error) {
	var files []File
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		sum := sha256.New()
		if err := copyFrom(ctx, sum, path); err != nil {
			return err
		}
		relative, err := filepath.Rel(folder, path)
		files = append(files, File{
			Path: filepath.ToSlash(relative), Size: info.Size(), SHA256: hex.EncodeToString(sum.Sum(nil)), Program: info.Mode()&0o100 != 0,
		})
		return err
	})
	return files, err
}

func copyFrom(ctx context.Context, w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, reader{ctx, f})
	return err
}

// reader ends with a context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}

// Open verifies a bundle and unpacks it below the folder cache, once for all
// bundles with the same files.
func Open(ctx context.Context, file, cache string) (*Opened, error) {
	o, err := open(ctx, file, cache)
	if err != nil {
		return nil, fmt.Errorf("could not open the bundle %s: %w", file, err)
	}
	return o, nil
}

func open(ctx context.Context, file, cache string) (*Opened, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	plain, err := zstd.NewReader(reader{ctx, f})
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	archive := tar.NewReader(plain)
	text, err := readManifest(archive)
	if err != nil {
		return nil, err
	}
	o := &Opened{}
	if err := json.Unmarshal(text, &o.Manifest); err != nil {
		return nil, fmt.Errorf("%s: %w", manifestFile, err)
	}
	if here := runtime.GOOS + "/" + runtime.GOARCH; o.Platform != here {
		return nil, fmt.Errorf("it is for %s, and this is %s", o.Platform, here)
	}
	sum := sha256.Sum256(text)
	o.folder = filepath.Join(cache, hex.EncodeToString(sum[:16]))
	if _, err := os.Stat(o.folder); err == nil && o.whole() {
		return o, nil
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return nil, err
	}
	unpacked, err := os.MkdirTemp(cache, ".unpacking-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(unpacked)
	if err := unpack(archive, o.Files, unpacked); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(o.folder); err != nil { // damaged
		return nil, err
	}
	if err := os.Rename(unpacked, o.folder); err != nil && !o.whole() { // else another devenv was first
		return nil, err
	}
	return o, nil
}

// whole says whether every file is there with its size.
func (o *Opened) whole() bool {
	return !slices.ContainsFunc(o.Files, func(f File) bool {
		info, err := os.Stat(filepath.Join(o.folder, filepath.FromSlash(f.Path)))
		return err != nil || info.Size() != f.Size
	})
}

// manifestLimit is more than any manifest has, in bytes.
const manifestLimit = 16 << 20

func readManifest(archive *tar.Reader) ([]byte, error) {
	header, err := archive.Next()
	if err != nil || header.Name != manifestFile {
		if err != nil {
			return nil, fmt.Errorf("it is no bundle of devenv's: %w", err)
		}
		return nil, errors.New("it is no bundle of devenv's")
	}
	return io.ReadAll(io.LimitReader(archive, manifestLimit))
}

// unpack writes the files that the manifest names, and no others, each held
// against its digest.
func unpack(archive *tar.Reader, files []File, folder string) error {
	root, err := os.OpenRoot(folder) // whatever the names are
	if err != nil {
		return err
	}
	defer root.Close()
	for _, f := range files {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) || err == nil && header.Name != f.Path {
			err = errors.New("it is not there")
		}
		if err == nil {
			err = unpackFile(archive, f, root)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	return nil
}

func unpackFile(from io.Reader, f File, root *os.Root) error {
	path := filepath.FromSlash(f.Path)
	if err := root.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	mode := os.FileMode(0o600)
	if f.Program {
		mode = 0o700
	}
	out, err := root.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, sum), from)
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	if have := hex.EncodeToString(sum.Sum(nil)); have != f.SHA256 {
		return fmt.Errorf("its SHA-256 is %s, and not %s as the manifest says", have, f.SHA256)
	}
	return nil
}

// Package programs takes programs out of container images, with no engine: out
// of a registry, by digest, or out of an archive. It is the only one that
// knows registries.
package programs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

const unfinished = ".unfinished-"

// Source is an image.
type Source struct {
	// Image as a reference, with digest where it comes from a registry.
	Image string
	// Archive holds it, as `docker save` writes it; empty for the registry.
	Archive string
}

// Ensure returns the files of programs of an image, by name. They are cached in
// the folder cache, under what they come from, so that only the first call
// reads the image; changed says that this one did.
//
// A program is a file of that name in a folder for programs: of the image, or
// of an image that it carries in containerd's content store, as kind's node
// images carry those of Kubernetes.
func Ensure(ctx context.Context, cache string, s Source, names ...string) (files map[string]string, changed bool, err error) {
	fail := func(err error) (map[string]string, bool, error) {
		return nil, false, fmt.Errorf("could not get %s out of the image %s: %w", strings.Join(names, ", "), s.Image, err)
	}
	key, err := s.key(names)
	if err != nil {
		return fail(err)
	}
	folder := filepath.Join(cache, key)
	if _, err := os.Stat(folder); err != nil {
		if err := s.extract(ctx, folder, names); err != nil {
			return fail(err)
		}
		changed = true
	}
	files = map[string]string{}
	for _, n := range names {
		files[n] = filepath.Join(folder, n)
	}
	return files, changed, nil
}

// key is a short hash over the image and the names. An archive counts by its
// path, size and time.
func (s Source) key(names []string) (string, error) {
	words := append([]string{s.Image}, slices.Sorted(slices.Values(names))...)
	if s.Archive != "" {
		info, err := os.Stat(s.Archive)
		if err != nil {
			return "", err
		}
		words = append(words, s.Archive, fmt.Sprint(info.Size()), info.ModTime().String())
	}
	sum := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	return hex.EncodeToString(sum[:6]), nil
}

// extract fills a folder under a temporary name, so that an interrupted one
// leaves nothing that looks finished.
func (s Source) extract(ctx context.Context, folder string, names []string) error {
	image, err := s.open(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o700); err != nil {
		return err
	}
	removeUnfinished(filepath.Dir(folder))
	temporary, err := os.MkdirTemp(filepath.Dir(folder), unfinished)
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	f := &finder{folder: temporary, wanted: map[string]bool{}, found: map[string]bool{}}
	for _, n := range names {
		f.wanted[n] = true
	}
	if err := f.search(ctx, image); err != nil {
		return err
	}
	err = os.Rename(temporary, folder)
	if _, statErr := os.Stat(folder); statErr == nil {
		return nil // another devenv was quicker
	}
	return err
}

// removeUnfinished removes what killed ones left an hour ago or longer.
func removeUnfinished(cache string) {
	left, _ := filepath.Glob(filepath.Join(cache, unfinished+"*"))
	for _, folder := range left {
		if info, err := os.Stat(folder); err == nil && time.Since(info.ModTime()) > time.Hour {
			_ = os.RemoveAll(folder)
		}
	}
}

func (s Source) open(ctx context.Context) (v1.Image, error) {
	if s.Archive != "" {
		return tarball.ImageFromPath(s.Archive, nil)
	}
	ref, err := name.ParseReference(s.Image)
	if err != nil {
		return nil, err
	}
	return remote.Image(ref, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}))
}

// search reads the layers from the last to the first, until everything is
// found. What a found link points to is looked for in a second round.
func (f *finder) search(ctx context.Context, image v1.Image) error {
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	slices.Reverse(layers)
	for range 2 {
		for _, layer := range layers {
			if f.complete() {
				return nil
			}
			if err := f.layer(ctx, layer); err != nil {
				return err
			}
		}
	}
	if f.complete() {
		return nil
	}
	return fmt.Errorf("it has no %s", strings.Join(f.missing(), ", "))
}

func (f *finder) layer(ctx context.Context, layer v1.Layer) error {
	content, err := layer.Uncompressed()
	if err != nil {
		return err
	}
	reader := &cancelled{ctx, content}
	if err = f.scan(reader, false); err == nil {
		_, err = io.Copy(io.Discard, reader) // its digest is compared at its end
	}
	return errors.Join(err, content.Close())
}

// cancelled ends reading with the context.
type cancelled struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancelled) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// Package image reads archives of container images: what `docker save` writes,
// and OCI layouts (https://github.com/opencontainers/image-spec, image-layout.md)
// as a folder or a tar file.
package image

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Image is one in an archive.
type Image struct {
	// Ref is its name as containerd lists it: docker.io/library/app:dev.
	Ref string
	// ID is the digest of its configuration.
	ID string

	tag   name.Reference
	image v1.Image
}

// FullRef is a name with the registry and the tag that it leaves out
// (github.com/distribution/reference, ParseNormalizedNamed).
func FullRef(ref string) (string, error) {
	parsed, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return "", fmt.Errorf("%q is no name of an image: %w", ref, err)
	}
	return reference.TagNameOnly(parsed).String(), nil
}

// Archive is a file or folder with images.
type Archive struct {
	Images []Image
	folder string // of an unpacked layout, to be removed
}

// Close removes what was unpacked.
func (a *Archive) Close() error {
	if a.folder == "" {
		return nil
	}
	return os.RemoveAll(a.folder)
}

// Open reads what images an archive holds, for this machine's platform. Close
// must be called when they are no longer needed.
func Open(path string) (*Archive, error) {
	a, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("could not read images from %s: %w", path, err)
	}
	return a, nil
}

func open(path string) (*Archive, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		a := &Archive{}
		a.Images, err = fromLayout(path)
		return a, err
	}
	opener := func() (io.ReadCloser, error) { return unpacked(path) }
	manifest, err := tarball.LoadManifest(opener)
	if err == nil && len(manifest) > 0 {
		a := &Archive{}
		a.Images, err = fromDocker(opener, manifest)
		return a, err
	}
	a := &Archive{}
	if a.folder, err = os.MkdirTemp("", "devenv-images-"); err != nil {
		return nil, err
	}
	if err = untar(path, a.folder); err == nil {
		a.Images, err = fromLayout(a.folder)
	}
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func fromDocker(opener tarball.Opener, manifest tarball.Manifest) ([]Image, error) {
	var list []Image
	for _, described := range manifest {
		for _, text := range described.RepoTags {
			tag, err := name.NewTag(text)
			if err != nil {
				return nil, err
			}
			image, err := tarball.Image(opener, &tag)
			if err != nil {
				return nil, err
			}
			id, err := image.ConfigName()
			if err != nil {
				return nil, err
			}
			full, err := FullRef(text)
			if err != nil {
				return nil, err
			}
			list = append(list, Image{Ref: full, ID: id.String(), tag: tag, image: image})
		}
	}
	if len(list) == 0 {
		return nil, errors.New("no image in it has a name; save it with one: docker save --output FILE NAME:TAG")
	}
	return list, nil
}

// Annotations that name an image of a layout: containerd's own, and the
// specification's, which many write as the tag alone.
var nameAnnotations = []string{"io.containerd.image.name", "org.opencontainers.image.ref.name"}

func fromLayout(folder string) ([]Image, error) {
	index, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var list []Image
	for _, described := range manifest.Manifests {
		text := ""
		for _, annotation := range nameAnnotations {
			if named := described.Annotations[annotation]; text == "" && strings.ContainsAny(named, ":/") {
				text = named
			}
		}
		if text == "" {
			continue
		}
		ref, err := name.ParseReference(text)
		if err != nil {
			return nil, err
		}
		image, err := forPlatform(index, described)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
		id, err := image.ConfigName()
		if err != nil {
			return nil, err
		}
		full, err := FullRef(text)
		if err != nil {
			return nil, err
		}
		list = append(list, Image{Ref: full, ID: id.String(), tag: ref, image: image})
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no image in it has a whole name, in the annotation %s or %s of its index", nameAnnotations[0], nameAnnotations[1])
	}
	return list, nil
}

// forPlatform is the image for the nodes, which have this machine's
// architecture.
func forPlatform(index v1.ImageIndex, described v1.Descriptor) (v1.Image, error) {
	if described.MediaType.IsImage() {
		return index.Image(described.Digest)
	}
	inner, err := index.ImageIndex(described.Digest)
	if err != nil {
		return nil, err
	}
	manifest, err := inner.IndexManifest()
	if err != nil {
		return nil, err
	}
	want := v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	for _, one := range manifest.Manifests {
		if one.Platform != nil && one.Platform.Satisfies(want) {
			return inner.Image(one.Digest)
		}
	}
	return nil, fmt.Errorf("there is none for %s", want)
}

// Fetch writes an image of a registry, for this machine's architecture, to a file
// as `docker save` does, under a name with a tag. pinned is what is asked for; its
// digest, if it has one, verifies what comes.
func Fetch(ctx context.Context, pinned, ref, to string) error {
	fail := func(err error) error { return fmt.Errorf("could not get the image %s: %w", pinned, err) }
	asked, err := name.ParseReference(pinned)
	if err != nil {
		return fail(err)
	}
	tag, err := name.NewTag(ref)
	if err != nil {
		return fail(err)
	}
	got, err := remote.Image(asked, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain),
		remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}))
	if err != nil {
		return fail(err)
	}
	if err := tarball.WriteToFile(to, tag, got); err != nil {
		return fail(err)
	}
	return nil
}

// Write writes the image as `docker save` does.
func (i Image) Write(ctx context.Context, w io.Writer) error {
	return tarball.Write(i.tag, i.image, writer{ctx, w})
}

type writer struct {
	ctx context.Context
	w   io.Writer
}

func (w writer) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.w.Write(p)
}

// unpacked opens a file, and what gzip made of it.
func unpacked(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	buffered := bufio.NewReaderSize(f, 1<<20)
	if magic, err := buffered.Peek(2); err != nil || string(magic) != "\x1f\x8b" {
		return struct {
			io.Reader
			io.Closer
		}{buffered, f}, nil
	}
	plain, err := gzip.NewReader(buffered)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{plain, f}, nil
}

// untar unpacks the files of a layout.
func untar(path, folder string) error {
	f, err := unpacked(path)
	if err != nil {
		return err
	}
	defer f.Close()
	root, err := os.OpenRoot(folder) // nothing is written beside it, whatever the names are
	if err != nil {
		return err
	}
	defer root.Close()
	archive := tar.NewReader(f)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("it is no tar file: %w", err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		inside := filepath.Clean(header.Name)
		if err := root.MkdirAll(filepath.Dir(inside), 0o700); err != nil {
			return err
		}
		out, err := root.OpenFile(inside, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, archive)
		if err := errors.Join(err, out.Close()); err != nil {
			return err
		}
	}
}

package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// layer collects files for one image layer. Times are zero, so that the same
// files always make the same layer.
type layer struct {
	buffer bytes.Buffer
	tar    *tar.Writer
	dirs   map[string]bool
	err    error
}

func newLayer() *layer {
	l := &layer{dirs: map[string]bool{}}
	l.tar = tar.NewWriter(&l.buffer)
	return l
}

func (l *layer) fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

// dir adds a folder and those above it.
func (l *layer) dir(name string, mode fs.FileMode) {
	name = strings.Trim(name, "/")
	if name == "" || name == "." || l.dirs[name] {
		return
	}
	l.dir(path.Dir(name), 0o755)
	l.dirs[name] = true
	l.header(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: int64(mode.Perm())})
}

func (l *layer) header(h *tar.Header) {
	if err := l.tar.WriteHeader(h); err != nil {
		l.fail(err)
	}
}

// file adds a file.
func (l *layer) file(name string, mode int64, content []byte) {
	name = strings.Trim(name, "/")
	l.dir(path.Dir(name), 0o755)
	l.header(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))})
	if _, err := l.tar.Write(content); err != nil {
		l.fail(err)
	}
}

// link adds a symbolic link.
func (l *layer) link(name, target string) {
	name = strings.Trim(name, "/")
	l.dir(path.Dir(name), 0o755)
	l.header(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777})
}

// host adds a file of this machine.
func (l *layer) host(name, source string) {
	text, err := os.ReadFile(source)
	if err != nil {
		l.fail(err)
		return
	}
	l.file(name, 0o755, text)
}

// tree adds what is in a folder of this machine; files whose folder is called
// bin, and those that mode says, become executable.
func (l *layer) tree(name, source string) {
	err := filepath.WalkDir(source, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(p)
		mode := int64(0o644)
		if filepath.Base(filepath.Dir(p)) == "bin" {
			mode = 0o755
		}
		l.file(path.Join(name, strings.TrimPrefix(p, source)), mode, text)
		return err
	})
	if err != nil {
		l.fail(err)
	}
}

// bytes closes the layer.
func (l *layer) bytes() ([]byte, error) {
	return l.buffer.Bytes(), errors.Join(l.err, l.tar.Close())
}

// image closes the layer and returns it uncompressed: it never travels, and
// compressing it would cost seconds at both ends.
func (l *layer) image() (v1.Layer, error) {
	content, err := l.bytes()
	if err != nil {
		return nil, err
	}
	return static.NewLayer(content, types.DockerUncompressedLayer), nil
}

// rootfs is a file system in a tar archive, in memory.
type rootfs struct {
	files map[string][]byte
	links map[string]string
}

func readRootfs(archive string) (*rootfs, error) {
	f, err := os.Open(archive)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := &rootfs{files: map[string][]byte{}, links: map[string]string{}}
	for t := tar.NewReader(f); ; {
		h, err := t.Next()
		if err == io.EOF {
			return r, nil
		}
		if err != nil {
			return nil, err
		}
		name := path.Clean("/" + h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			if r.files[name], err = io.ReadAll(t); err != nil {
				return nil, err
			}
		case tar.TypeLink:
			r.files[name] = r.files[path.Clean("/"+h.Linkname)]
		case tar.TypeSymlink:
			r.links[name] = h.Linkname
		}
	}
}

// resolve follows links, those of folders on the way included (Debian's /lib
// is one).
func (r *rootfs) resolve(name string) string {
	for range 40 {
		next := name
		for p := name; p != "/"; p = path.Dir(p) {
			if target, ok := r.links[p]; ok {
				if !path.IsAbs(target) {
					target = path.Join(path.Dir(p), target)
				}
				next = path.Join(target, strings.TrimPrefix(name, p))
				break
			}
		}
		if next == name {
			return name
		}
		name = next
	}
	return name
}

// program copies an ELF binary into a layer together with the shared
// libraries it needs, under the names they are looked up by.
func (r *rootfs) program(into *layer, name string, seen map[string]bool) error {
	content, ok := r.files[r.resolve(name)]
	if !ok {
		return fmt.Errorf("%s is not in the root file system", name)
	}
	if seen[name] {
		return nil
	}
	seen[name] = true
	into.file(name, 0o755, content)
	binary, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	libraries, err := binary.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, library := range libraries {
		folder := "/lib/x86_64-linux-gnu/"
		if strings.HasPrefix(library, "ld-linux") {
			folder = "/lib64/"
		}
		if err := r.program(into, folder+library, seen); err != nil {
			return err
		}
	}
	return nil
}

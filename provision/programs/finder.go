package programs

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// finder looks for programs in layers and writes them to a folder.
type finder struct {
	folder string
	wanted map[string]bool
	found  map[string]bool
}

var binFolders = []string{"bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin"}

// contentStore is where containerd stores the layers of the images it holds.
const contentStore = "var/lib/containerd/io.containerd.content.v1.content/blobs/sha256"

func (f *finder) missing() []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(f.wanted)) {
		if !f.found[name] {
			list = append(list, name)
		}
	}
	return list
}

func (f *finder) complete() bool { return len(f.missing()) == 0 }

// scan reads a layer; those that lie in it are read too, but nothing in those.
func (f *finder) scan(layer io.Reader, nested bool) error {
	archive := tar.NewReader(layer)
	for !f.complete() {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		folder, base := path.Split(strings.TrimPrefix(path.Clean(header.Name), "/"))
		folder = strings.TrimSuffix(folder, "/")
		switch {
		case slices.Contains(binFolders, folder) && f.wanted[base] && !f.found[base]:
			err = f.take(archive, header, base)
		case folder == contentStore && !nested && header.Typeflag == tar.TypeReg:
			err = f.scanBlob(archive)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// take keeps a program. A link is kept as a link, and what it points to is
// wanted from now on: programs that dispatch on their names are made so.
func (f *finder) take(content io.Reader, header *tar.Header, name string) error {
	switch header.Typeflag {
	case tar.TypeReg:
		file, err := os.OpenFile(filepath.Join(f.folder, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700)
		if err != nil {
			return err
		}
		_, err = io.Copy(file, content)
		f.found[name] = true
		return errors.Join(err, file.Close())
	case tar.TypeSymlink, tar.TypeLink:
		target := path.Base(header.Linkname)
		f.found[name], f.wanted[target] = true, true
		return os.Symlink(target, filepath.Join(f.folder, name))
	}
	return nil
}

// scanBlob reads a blob of the content store, if it is a layer.
func (f *finder) scanBlob(blob io.Reader) error {
	buffered := bufio.NewReaderSize(blob, 1024)
	head, err := buffered.Peek(512)
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}): // gzip, RFC 1952
		unpacked, err := gzip.NewReader(buffered)
		if err != nil {
			return err
		}
		return f.scan(unpacked, true)
	case err == nil && bytes.Equal(head[257:262], []byte("ustar")): // tar(5)
		return f.scan(buffered, true)
	}
	return nil // a manifest, a configuration
}

package programs

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

type file struct{ name, content, link string }

func archive(t *testing.T, files ...file) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Mode: 0o755, Size: int64(len(f.content)), Typeflag: tar.TypeReg}
		if f.link != "" {
			header.Typeflag, header.Linkname = tar.TypeSymlink, f.link
		}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func compressed(t *testing.T, content []byte) string {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// nodeImage is built as kind's are: programs of its own, and images in
// containerd's store, with compressed layers and plain ones.
func nodeImage(t *testing.T) v1.Image {
	t.Helper()
	blob := func(name string) string { return contentStore + "/" + name }
	layers := [][]byte{
		archive(t, file{name: "usr/bin/kubectl", content: "an old kubectl"}, file{name: "etc/etcd", content: "no program"}),
		archive(t,
			file{name: "usr/bin/kubectl", link: "multi"}, // its target stands before it or behind it
			file{name: "usr/bin/multi", content: "the new kubectl"},
			file{name: blob("aa"), content: `{"a": "manifest"}`},
			file{name: blob("bb"), content: compressed(t, archive(t, file{name: "usr/local/bin/etcd", content: "etcd"}))},
			file{name: blob("cc"), content: string(archive(t, file{name: "./usr/local/bin/kube-apiserver", content: "apiserver"}))},
		),
	}
	image := v1.Image(empty.Image)
	for _, l := range layers {
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(l)), nil })
		if err != nil {
			t.Fatal(err)
		}
		if image, err = mutate.AppendLayers(image, layer); err != nil {
			t.Fatal(err)
		}
	}
	return image
}

func wantPrograms(t *testing.T, files map[string]string) {
	t.Helper()
	for name, want := range map[string]string{"etcd": "etcd", "kube-apiserver": "apiserver", "kubectl": "the new kubectl"} {
		content, err := os.ReadFile(files[name])
		if err != nil || string(content) != want {
			t.Errorf("%s: %q, %v", name, content, err)
		}
		if info, err := os.Stat(files[name]); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

var wanted = []string{"etcd", "kube-apiserver", "kubectl"}

func TestOutOfARegistryByDigest(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	image := nodeImage(t)
	ref, err := name.ParseReference(strings.TrimPrefix(server.URL, "http://") + "/kindest/node:v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image); err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	source := Source{Image: ref.String() + "@" + digest.String()}
	files, changed, err := Ensure(t.Context(), cache, source, wanted...)
	if err != nil || !changed {
		t.Fatalf("%v, %v", changed, err)
	}
	wantPrograms(t, files)

	other := Source{Image: ref.String() + "@sha256:" + strings.Repeat("0", 64)}
	if _, _, err := Ensure(t.Context(), cache, other, wanted...); err == nil || !strings.Contains(err.Error(), "could not get etcd, kube-apiserver, kubectl out of the image "+other.Image) {
		t.Errorf("another digest: %v", err)
	}
	server.Close()
	files, changed, err = Ensure(t.Context(), cache, source, wanted...)
	if err != nil || changed {
		t.Fatalf("from the cache, with no registry: %v, %v", changed, err)
	}
	wantPrograms(t, files)
}

func TestOutOfAnArchive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.tar")
	tag, err := name.NewTag("kindest/node:v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(path, tag, nodeImage(t)); err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	source := Source{Image: tag.String(), Archive: path}
	files, _, err := Ensure(t.Context(), cache, source, wanted...)
	if err != nil {
		t.Fatal(err)
	}
	wantPrograms(t, files)

	if _, _, err := Ensure(t.Context(), cache, source, "kubelet"); err == nil || !strings.Contains(err.Error(), "it has no kubelet") {
		t.Errorf("a program that is not there: %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Ensure(cancelled, t.TempDir(), source, wanted...); err == nil {
		t.Error("it went on after it was cancelled")
	}
	if entries, err := os.ReadDir(cache); err != nil || len(entries) != 1 {
		t.Errorf("the cache holds %v, %v", entries, err)
	}
	if err := os.WriteFile(path, []byte("cut"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Ensure(t.Context(), cache, source, wanted...); err == nil {
		t.Error("a spoilt archive was not noticed")
	}
}

package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func no(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// One image in every form: what is read is always the same image, and what is
// written can be read again.
func TestOpen(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("TMPDIR", t.TempDir())
	made := must(random.Image(1000, 2))(t)
	want := must(made.ConfigName())(t).String()
	tag := must(name.NewTag("example.com/app:dev"))(t)
	file := func(name string) string { return filepath.Join(folder, name) }

	no(t, tarball.WriteToFile(file("docker.tar"), tag, made))
	compress(t, file("docker.tar"), file("docker.tar.gz"))
	annotated := func(folder, annotation, value string) {
		l := must(layout.Write(folder, empty.Index))(t)
		no(t, l.AppendImage(made, layout.WithAnnotations(map[string]string{annotation: value})))
	}
	annotated(file("layout"), "org.opencontainers.image.ref.name", "example.com/app:dev")
	annotated(file("containerd"), "io.containerd.image.name", "example.com/app:dev")
	annotated(file("nameless"), "org.opencontainers.image.ref.name", "dev")
	pack(t, file("layout"), file("layout.tar"))
	compress(t, file("layout.tar"), file("layout.tgz"))
	other := must(random.Image(1000, 1))(t)
	platforms := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}},
		mutate.IndexAddendum{Add: made, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}}})
	l := must(layout.Write(file("platforms"), empty.Index))(t)
	no(t, l.AppendIndex(platforms, layout.WithAnnotations(map[string]string{"io.containerd.image.name": "example.com/app:dev"})))

	for _, form := range []string{"docker.tar", "docker.tar.gz", "layout", "containerd", "layout.tar", "layout.tgz", "platforms"} {
		t.Run(form, func(t *testing.T) {
			a := must(Open(file(form)))(t)
			if len(a.Images) != 1 || a.Images[0].Ref != "example.com/app:dev" || a.Images[0].ID != want {
				t.Fatalf("images %+v", a.Images)
			}
			var written bytes.Buffer
			no(t, a.Images[0].Write(t.Context(), &written))
			no(t, a.Close())
			again := filepath.Join(t.TempDir(), "again.tar")
			no(t, os.WriteFile(again, written.Bytes(), 0o600))
			b := must(Open(again))(t)
			if b.Images[0].ID != want {
				t.Errorf("written and read: %+v", b.Images)
			}
		})
	}
	no(t, os.WriteFile(file("text"), []byte("no archive"), 0o600))
	no(t, os.Mkdir(file("empty"), 0o700))
	for bad, says := range map[string]string{
		"absent.tar": "no such file",
		"text":       "it is no tar file",
		"empty":      "no such file",
		"nameless":   "no image in it has a whole name",
	} {
		if _, err := Open(file(bad)); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), file(bad)) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "devenv-images-*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestFullRef(t *testing.T) {
	for ref, want := range map[string]string{
		"app":                    "docker.io/library/app:latest",
		"app:dev":                "docker.io/library/app:dev",
		"team/app:dev":           "docker.io/team/app:dev",
		"localhost:5000/app:dev": "localhost:5000/app:dev",
		"example.com/a/b":        "example.com/a/b:latest",
		"caddy:2":                "docker.io/library/caddy:2",
		"lab/party:1":            "docker.io/lab/party:1",
		"ghcr.io/dexidp/dex:v1":  "ghcr.io/dexidp/dex:v1",
		"localhost/x:1":          "localhost/x:1",
		"here:5000/x:1":          "here:5000/x:1",
	} {
		if got, err := FullRef(ref); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", ref, got, err, want)
		}
	}
	if _, err := FullRef("App:dev"); err == nil || !strings.Contains(err.Error(), `"App:dev" is no name of an image`) {
		t.Error(err)
	}
}

func compress(t *testing.T, from, to string) {
	t.Helper()
	text := must(os.ReadFile(from))(t)
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_ = must(w.Write(text))(t)
	no(t, w.Close())
	no(t, os.WriteFile(to, out.Bytes(), 0o600))
}

func pack(t *testing.T, folder, to string) {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	no(t, w.AddFS(os.DirFS(folder)))
	no(t, w.Close())
	no(t, os.WriteFile(to, out.Bytes(), 0o600))
}

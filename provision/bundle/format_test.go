package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func TestPackAndOpen(t *testing.T) {
	folder, file, cache := t.TempDir(), filepath.Join(t.TempDir(), "b"), filepath.Join(t.TempDir(), "cache")
	no := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	no(os.MkdirAll(filepath.Join(folder, "programs"), 0o700))
	no(os.WriteFile(filepath.Join(folder, "programs", "x"), []byte("program"), 0o700))
	no(os.WriteFile(filepath.Join(folder, profileFile), []byte("profile"), 0o600))
	here := Manifest{Platform: runtime.GOOS + "/" + runtime.GOARCH}
	no(pack(t.Context(), here, folder, file))
	opened, err := Open(t.Context(), file, cache)
	no(err)
	if text, err := os.ReadFile(opened.Profile()); err != nil || string(text) != "profile" {
		t.Errorf("%q, %v", text, err)
	}
	if info, err := os.Stat(filepath.Join(opened.folder, "programs", "x")); err != nil || info.Mode() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	no(os.WriteFile(opened.Profile(), nil, 0o600)) // damaged in the cache: unpacked again
	again, err := Open(t.Context(), file, cache)
	no(err)
	if text, err := os.ReadFile(again.Profile()); err != nil || string(text) != "profile" || again.folder != opened.folder {
		t.Errorf("%q, %v", text, err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := pack(cancelled, here, folder, filepath.Join(t.TempDir(), "c")); err == nil {
		t.Error("packed in spite of Ctrl-C")
	}
}

// What somebody else wrote is written nowhere but below the cache, and only what
// its manifest says.
func TestOpenRejects(t *testing.T) {
	here := runtime.GOOS + "/" + runtime.GOARCH
	good := File{Path: "a", Size: 1, SHA256: "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"}
	outside := good
	outside.Path = "../../a"
	for name, test := range map[string]struct {
		manifest any
		entries  map[string]string
		says     string
	}{
		"no manifest":      {nil, map[string]string{"a": "a"}, "it is no bundle of devenv's"},
		"another platform": {Manifest{Platform: "plan9/386"}, nil, "it is for plan9/386"},
		"another content":  {Manifest{Platform: here, Files: []File{good}}, map[string]string{"a": "b"}, "a: its SHA-256 is"},
		"a missing file":   {Manifest{Platform: here, Files: []File{good}}, nil, "a: it is not there"},
		"another file":     {Manifest{Platform: here, Files: []File{good}}, map[string]string{"b": "a"}, "a: it is not there"},
		"a way out":        {Manifest{Platform: here, Files: []File{outside}}, map[string]string{"../../a": "a"}, "escapes"},
		"no JSON":          {"x", nil, manifestFile},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			compressed, err := zstd.NewWriter(&out)
			if err != nil {
				t.Fatal(err)
			}
			archive := tar.NewWriter(compressed)
			add := func(name, text string) {
				if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(text))}); err != nil {
					t.Fatal(err)
				}
				if _, err := archive.Write([]byte(text)); err != nil {
					t.Fatal(err)
				}
			}
			if test.manifest != nil {
				text, err := json.Marshal(test.manifest)
				if err != nil {
					t.Fatal(err)
				}
				add(manifestFile, string(text))
			}
			for name, text := range test.entries {
				add(name, text)
			}
			if err := archive.Close(); err != nil {
				t.Fatal(err)
			}
			if err := compressed.Close(); err != nil {
				t.Fatal(err)
			}
			root := t.TempDir()
			file, cache := filepath.Join(root, "b"), filepath.Join(root, "in", "cache")
			if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(t.Context(), file, cache); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v, want %q", err, test.says)
			}
			if left, _ := os.ReadDir(cache); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			if _, err := os.Stat(filepath.Join(root, "a")); err == nil {
				t.Error("a file got out")
			}
		})
	}
}

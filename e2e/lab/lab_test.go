package main

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The versions that are stamped must be those that go.mod has built.
func TestVersionsAreThoseOfTheModules(t *testing.T) {
	for module, want := range map[string]string{
		"kubernetes":  "k8s.io/kubernetes " + kubernetesVersion,
		"containerd":  "github.com/containerd/containerd/v2 " + containerdVersion,
		"certmanager": "github.com/cert-manager/cert-manager " + certManagerVersion,
		"dex":         "// Dex, as released in " + dexVersion + " ",
		"oauth2proxy": "github.com/oauth2-proxy/oauth2-proxy/v7 " + oauth2ProxyTag,
		"caddy":       "github.com/caddyserver/caddy/v2 v" + caddyTag,
	} {
		text, err := os.ReadFile(filepath.Join("modules", module, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), want) {
			t.Errorf("modules/%s/go.mod does not have %q", module, want)
		}
	}
}

func testLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{root: t.TempDir(), cache: t.TempDir()}
	if err := os.WriteFile(filepath.Join(l.root, "input"), []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestKeyFollowsItsInputs(t *testing.T) {
	l := testLab(t)
	key := func(words ...string) string {
		k, err := l.key([]string{"input"}, words...)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	first := key("a")
	if len(first) != 12 || key("a") != first || key("b") == first {
		t.Error("the key does not follow its words")
	}
	if err := os.WriteFile(filepath.Join(l.root, "input"), []byte("2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if key("a") == first {
		t.Error("the key does not follow its files")
	}
	if _, err := l.key([]string{"none"}); err == nil {
		t.Error("a missing input has a key")
	}
}

func TestArtifactIsMadeOnceAndWhole(t *testing.T) {
	l := testLab(t)
	made := 0
	write := func(text string) func(string) error {
		return func(path string) error { made++; return os.WriteFile(path, []byte(text), 0o600) }
	}
	if _, err := l.artifact("thing", "aaaaaaaaaaaa", ".tar", func(path string) error {
		_ = os.WriteFile(path, []byte("half"), 0o600)
		return io.ErrUnexpectedEOF
	}); err == nil {
		t.Fatal("a failed build gave an artifact")
	}
	for range 2 {
		path, err := l.artifact("thing", "aaaaaaaaaaaa", ".tar", write("whole"))
		if text, _ := os.ReadFile(path); err != nil || string(text) != "whole" {
			t.Errorf("%s: %q, %v", path, text, err)
		}
	}
	if made != 1 {
		t.Errorf("it was made %d times", made)
	}
	if _, err := l.artifact("thing", "bbbbbbbbbbbb", ".tar", write("new")); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(l.cache); len(entries) != 1 {
		t.Errorf("the cache holds %v", entries)
	}
}

func TestSameFilesMakeTheSameLayer(t *testing.T) {
	layerOf := func() []byte {
		l := newLayer()
		l.file("/usr/bin/tool", 0o755, []byte("x"))
		l.link("/bin/tool", "../usr/bin/tool")
		content, err := l.bytes()
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Clone(content)
	}
	first := layerOf()
	if !bytes.Equal(first, layerOf()) {
		t.Error("two layers of the same files differ")
	}
	var names []string
	for r := tar.NewReader(bytes.NewReader(first)); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		names = append(names, h.Name)
	}
	if got := strings.Join(names, " "); got != "usr/ usr/bin/ usr/bin/tool bin/ bin/tool" {
		t.Error(got)
	}
	broken := newLayer()
	broken.host("/x", "/nowhere")
	if _, err := broken.bytes(); err == nil {
		t.Error("a missing file makes a layer")
	}
}

func TestResolveFollowsLinksOfFolders(t *testing.T) {
	r := &rootfs{files: map[string][]byte{"/usr/lib/a.so.1": nil}, links: map[string]string{"/lib": "usr/lib", "/usr/lib/a.so": "a.so.1"}}
	if got := r.resolve("/lib/a.so"); got != "/usr/lib/a.so.1" {
		t.Error(got)
	}
}

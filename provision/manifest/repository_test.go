package manifest

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// repository makes a git repository with these files, and returns its address
// and the commit before the last.
func repository(t *testing.T, files map[string]string) (address, commit string) {
	t.Helper()
	folder := t.TempDir()
	git := func(args ...string) string {
		t.Helper()
		command := exec.Command("git", append([]string{"-C", folder, "-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
		out, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "--quiet")
	git("config", "uploadpack.allowReachableSHA1InWant", "true")
	for name, text := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git("add", ".")
	git("commit", "--quiet", "--message=one")
	commit = git("rev-parse", "HEAD")
	git("rm", "--quiet", "-r", ".")
	git("commit", "--quiet", "--message=two")
	return "file://" + folder, commit
}

const configMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: "

func TestRepository(t *testing.T) {
	address, commit := repository(t, map[string]string{
		"one.yaml":                    configMap + "one}\n",
		"deploy/b.yaml":               configMap + "b}\n",
		"deploy/a.yml":                configMap + "a}\n",
		"deploy/more/c.yaml":          configMap + "c}\n",
		"over/kustomization.yaml":     "resources: [../deploy/more]\nnamePrefix: my-\nconfigMapGenerator: [{name: made, files: [x=x.sh], options: {disableNameSuffixHash: true}}]\n",
		"over/x.sh":                   "x",
		"plugin/kustomization.yaml":   "transformers: [patch.yaml]\nresources: [../deploy/more]\n",
		"plugin/patch.yaml":           "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: p}\npath: https://example.com/patch.yaml\n",
		"deploy/more/Kustomization":   "resources: [c.yaml]\n",
		"out/kustomization.yaml":      "Resources: [https://example.com/more.yaml]\npatches: [{path: https://example.com/patch.yaml}]\n",
		"over-out/kustomization.yaml": "resources: [../out]\n",
		"helm/kustomization.yaml":     "helmCharts: [{name: a, repo: https://example.com}]\n",
	})
	cache := t.TempDir()
	source := func(path string) Source { return Source{Repository: address, Commit: commit, Path: path} }
	names := func(s Source) string {
		t.Helper()
		objects, err := s.Objects(t.Context(), cache)
		if err != nil {
			return err.Error()
		}
		var list []string
		for _, o := range objects {
			list = append(list, o["metadata"].(map[string]any)["name"].(string))
		}
		return strings.Join(list, " ")
	}
	for path, want := range map[string]string{
		"one.yaml": "one", "": "one", "deploy": "a b", "/deploy/": "a b", "deploy/b.yaml": "b", "over": "my-c my-made",
	} {
		if got := names(source(path)); got != want {
			t.Errorf("%q has the objects %s, want %s", path, got, want)
		}
	}
	for path, want := range map[string]string{
		"none":     `no YAML file and no folder of YAML files at "none"`,
		"../..":    "one", // a path cannot leave the repository
		"out":      `out/kustomization.yaml takes "https://example.com/patch.yaml", which is not in the repository`,
		"over-out": `out/kustomization.yaml takes "https://example.com/more.yaml", which is not in the repository`,
		"plugin":   "plugin/patch.yaml has an address in it",
		"helm":     "takes Helm charts",
	} {
		if got := names(source(path)); !strings.Contains(got, want) {
			t.Errorf("%q: %s, want %s", path, got, want)
		}
	}
	if got := names(Source{Repository: address, Commit: strings.Repeat("1", 40)}); !strings.Contains(got, "git fetch") {
		t.Errorf("a commit that does not exist: %s", got)
	}
	if got := names(Source{Repository: "https://example.com/x", Commit: commit, Path: "one.yaml", Local: strings.TrimPrefix(address, "file://")}); !strings.Contains(got, "no YAML file") {
		t.Errorf("a folder in its place: %s", got)
	}

	// a stored file that was changed is fetched again
	packs, err := filepath.Glob(filepath.Join(cache, "repositories", "*", "objects", "pack", "*.pack"))
	if err != nil || len(packs) == 0 {
		t.Fatalf("%v, %v", packs, err)
	}
	for _, pack := range packs {
		text, err := os.ReadFile(pack)
		if err != nil {
			t.Fatal(err)
		}
		text[len(text)/2] ^= 1
		if err := os.Chmod(pack, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(pack, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := names(source("deploy")); got != "a b" {
		t.Errorf("after a change in the cache: %s", got)
	}
}

// A server that says nothing holds nobody up who is interrupted.
func TestFetchIsInterrupted(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if connection, err := listener.Accept(); err == nil {
			defer connection.Close()
			cancel()
			<-t.Context().Done()
		}
	}()
	done := make(chan error, 1)
	go func() {
		_, err := Source{Repository: "http://" + listener.Addr().String() + "/x", Commit: strings.Repeat("1", 40)}.Objects(ctx, t.TempDir())
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "canceled") {
			t.Errorf("%v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it goes on after it was interrupted")
	}
}

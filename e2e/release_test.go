package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// The same commit gives the same archive, and the program in it works in an
// empty folder.
func TestRelease(t *testing.T) {
	t.Parallel()
	out := [2]string{t.TempDir(), t.TempDir()}
	target := "linux/" + runtime.GOARCH
	for _, folder := range out {
		c := exec.CommandContext(t.Context(), "go", "run", "./cmd/release", "-version", "v1.2.3", "-targets", target, "-out", folder)
		c.Dir = ".."
		c.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000")
		if text, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	first, err := os.ReadFile(filepath.Join(out[0], "checksums.txt"))
	noError(t, err)
	second, err := os.ReadFile(filepath.Join(out[1], "checksums.txt"))
	noError(t, err)
	if string(first) != string(second) || strings.Count(string(first), "\n") != 2 {
		t.Errorf("made twice:\n%s\n%s", first, second)
	}
	check := exec.Command("sha256sum", "--check", "checksums.txt")
	check.Dir = out[0]
	if text, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
	name := "devenv_1.2.3_linux_" + runtime.GOARCH
	clean := t.TempDir()
	if text, err := exec.Command("tar", "--extract", "--gzip", "--directory", clean, "--file", filepath.Join(out[0], name+".tar.gz")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for file, says := range map[string]string{"man/man1/devenv.1": ".TH devenv 1", "completions/bash/devenv": "complete ", "LICENSE": "Apache License", "schemas/status.json": `"$schema"`} {
		if text, err := os.ReadFile(filepath.Join(clean, file)); err != nil || !strings.Contains(string(text), says) {
			t.Errorf("%s: %v", file, err)
		}
	}
	var bill struct {
		Components []struct{ Name, Version string }
	}
	text, err := os.ReadFile(filepath.Join(out[0], name+".cdx.json"))
	noError(t, err)
	noError(t, json.Unmarshal(text, &bill))
	found := map[string]string{}
	for _, c := range bill.Components {
		found[c.Name] = c.Version
	}
	if found["sigs.k8s.io/kind"] == "" || found["go"] != runtime.Version() {
		t.Errorf("components: %v", found)
	}

	run := func(args ...string) string {
		t.Helper()
		c := exec.CommandContext(t.Context(), filepath.Join(clean, "devenv"), args...)
		c.Dir, c.Env = clean, append(os.Environ(), "DEVENV_HOME="+filepath.Join(clean, "state"))
		text, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("devenv %s: %v\n%s", strings.Join(args, " "), err, text)
		}
		return string(text)
	}
	if v := run("--version"); v != "devenv version v1.2.3\n" {
		t.Error(v)
	}
	defer run("down")
	run("up", "--runtime", "process")
}

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStripTakesOneCapabilityAndNothingElse(t *testing.T) {
	const process = `{"args":["sh"],"capabilities":{"bounding":["CAP_CHOWN","CAP_SYS_RESOURCE"],"effective":["CAP_SYS_RESOURCE"]},"oomScoreAdj":-998}`
	for name, c := range map[string]struct {
		text string
		path []string
	}{
		"config.json":  {`{"ociVersion":"1.0.2","process":` + process + `}`, []string{"process"}},
		"process.json": {process, nil},
	} {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := strip(file, c.path...); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), missing) || !strings.Contains(string(text), "CAP_CHOWN") || !strings.Contains(string(text), "-998") || !json.Valid(text) {
			t.Errorf("%s: %s", name, text)
		}
	}
	bare := filepath.Join(t.TempDir(), "bare.json")
	if err := os.WriteFile(bare, []byte(`{"args":["sh"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := strip(bare, "process"); err != nil {
		t.Error(err)
	}
	if err := strip(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing file was stripped")
	}
}

func TestFlag(t *testing.T) {
	args := []string{"--root", "/run", "create", "--bundle", "/b", "--pid-file=/p"}
	for name, want := range map[string]string{"bundle": "/b", "pid-file": "/p", "process": ""} {
		if got := flag(args, name, "-"); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := flag([]string{"exec", "-p", "/spec"}, "process", "p"); got != "/spec" {
		t.Error(got)
	}
}

package state

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestWriteIsPrivateAndSaysWhatChanged(t *testing.T) {
	dir := Home(t.TempDir()).Dir("dev")
	for _, step := range []struct {
		content string
		changed bool
	}{{"a", true}, {"a", false}, {"b", true}} {
		changed, err := dir.Write([]byte(step.content), "sub", "file")
		if err != nil || changed != step.changed {
			t.Errorf("%q: changed %v, %v", step.content, changed, err)
		}
	}
	for path, mode := range map[string]fs.FileMode{dir.Path("sub", "file"): 0o600, dir.Path("sub"): 0o700, string(dir): 0o700} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	left, err := filepath.Glob(dir.Path("sub", ".new-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v", left)
	}
}

func TestLock(t *testing.T) {
	home := Home(t.TempDir())
	unlock, err := home.Lock(t.Context(), "dev")
	if err != nil {
		t.Fatal(err)
	}
	var busy *BusyError
	if _, err := home.Lock(t.Context(), "dev"); !errors.As(err, &busy) {
		t.Errorf("locked twice: %v", err)
	}
	other, err := home.Lock(t.Context(), "other")
	if err != nil {
		t.Errorf("another environment: %v", err)
	} else {
		other()
	}
	unlock()
	entries, err := os.ReadDir(string(home))
	if err != nil || len(entries) > 0 {
		t.Errorf("locks of environments that are not there are left: %v, %v", entries, err)
	}
	if names, err := home.Names(); err != nil || len(names) > 0 {
		t.Errorf("environments: %v, %v", names, err)
	}
}

func TestDefaultHome(t *testing.T) {
	t.Setenv("HOME", "/home/somebody")
	t.Setenv("XDG_STATE_HOME", "")
	t.Setenv("DEVENV_HOME", "")
	for _, step := range []struct{ variable, value, want string }{
		{"HOME", "/home/somebody", "/home/somebody/.local/state/devenv"},
		{"XDG_STATE_HOME", "relative", "/home/somebody/.local/state/devenv"},
		{"XDG_STATE_HOME", "/var/state", "/var/state/devenv"},
		{"DEVENV_HOME", "/elsewhere", "/elsewhere"},
	} {
		t.Setenv(step.variable, step.value)
		if got, err := DefaultHome(); err != nil || string(got) != step.want {
			t.Errorf("%s=%s: %s, %v", step.variable, step.value, got, err)
		}
	}
}

func TestOwner(t *testing.T) {
	for path, want := range map[string]string{
		"/state/dev/clusters/main/node":    "dev",
		"/state/dev/main.etcd":             "dev",
		"/state/ci/dev/clusters/main/node": "", // of a home below this one
		"/state/ci/dev/main.etcd":          "",
		"/state/dev":                       "",
		"/states/dev/main.etcd":            "",
	} {
		if name, ok := Home("/state").Owner(path); ok != (want != "") || ok && name != want {
			t.Errorf("%s: %q, %v", path, name, ok)
		}
	}
}

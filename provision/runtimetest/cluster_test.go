package runtimetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// machine is where fake clusters are: what a fake's handles have in common.
type machine struct {
	there, complete, running bool
	kept                     string

	// what is wrong with it
	forgetful, immortal, unstamped, eager bool
}

// fake is a handle of the only cluster of a machine.
type fake struct {
	*machine
	booting bool
}

var _ Cluster = (*fake)(nil)

func (f *fake) Boot(context.Context) (bool, error) {
	changed := !f.running || f.eager
	f.booting = !f.complete
	f.there, f.running = true, true
	return changed, nil
}

func (f *fake) WaitForAPIServer(context.Context) ([]byte, error) {
	if !f.running {
		return nil, errors.New("it does not run")
	}
	return []byte("kubeconfig"), nil
}

func (f *fake) Finish(context.Context) (bool, error) {
	changed := !f.complete
	f.complete, f.booting = true, false
	return changed, nil
}

func (f *fake) Complete() bool { return f.complete }

func (f *fake) State(context.Context) (string, error) {
	switch {
	case !f.there:
		return "absent", nil
	case !f.complete:
		return "incomplete", nil
	case !f.running:
		return "stopped", nil
	}
	return "running", nil
}

func (f *fake) APIServerLog(context.Context) (string, error) {
	if f.unstamped {
		return "a line\n", nil
	}
	return "2026-01-02T03:04:05.000006Z a line\n", nil
}

func (f *fake) CollectLogs(folder string) error {
	return errors.Join(os.MkdirAll(folder, 0o700), os.WriteFile(filepath.Join(folder, "log"), nil, 0o600))
}

func (f *fake) Abandon(ctx context.Context, keepFailed bool) (bool, error) {
	if !f.booting || keepFailed {
		return false, nil
	}
	return f.Delete(ctx)
}

func (f *fake) Delete(context.Context) (bool, error) {
	was := f.there
	if !f.immortal {
		f.there, f.complete, f.running, f.kept = false, false, false, ""
	}
	return was, nil
}

func subject(t *testing.T, m *machine) Subject {
	return Subject{
		New:  func() Cluster { return &fake{machine: m} },
		Keep: func(context.Context, []byte) error { m.kept = "something"; return nil },
		Kept: func(context.Context, []byte) error {
			if m.kept == "" || m.forgetful {
				return errors.New("nothing is there")
			}
			return nil
		},
		Kill:   func() error { m.running = false; return nil },
		Folder: filepath.Join(t.TempDir(), "logs"),
	}
}

func TestTheFakePasses(t *testing.T) {
	if err := Check(t.Context(), subject(t, &machine{})); err != nil {
		t.Error(err)
	}
}

// A suite that nothing can fail says nothing.
func TestWhatIsWrongIsFound(t *testing.T) {
	for want, m := range map[string]*machine{
		"after everything was killed: what was stored is gone": {forgetful: true},
		"deleted: it says that it is complete":                 {immortal: true},
		"its logs: a line of the API server's log":             {unstamped: true},
		"found again: Boot answers true, not false":            {eager: true},
		"before it is made: it says that it is complete":       {complete: true},
	} {
		if err := Check(t.Context(), subject(t, m)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

package lifetime

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/process"
	"github.com/devenv-oidc/devenv/provision/state"
)

func identify(t *testing.T, pid int) process.Owner {
	t.Helper()
	o, err := process.Identify(pid)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestOver(t *testing.T) {
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	ended := identify(t, child.Process.Pid)
	if ended.Gone() {
		t.Error("a process that runs is gone")
	}
	_ = child.Process.Kill()
	limited, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	err := kube.PollEvery(limited, time.Millisecond, "the killed process to be gone, which nobody has waited for yet", func(context.Context) error {
		if !ended.Gone() {
			return errors.New("it is there")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	self := identify(t, os.Getpid())
	another := self // a later process that got the number
	another.Started++
	before := self
	before.Boot = "another"
	elsewhere := ended
	elsewhere.Namespace = "pid:[1]"

	for name, test := range map[string]struct {
		l    Lifetime
		want string
	}{
		"endless":                {Lifetime{}, ""},
		"not yet":                {Lifetime{Until: time.Now().Add(time.Hour)}, ""},
		"its time":               {Lifetime{Until: time.Now().Add(-time.Second)}, "its time was over at "},
		"its time, owner there":  {Lifetime{Until: time.Now().Add(-time.Second), Owners: []process.Owner{self}}, "its time was over at "},
		"owner there":            {Lifetime{Owners: []process.Owner{self}}, ""},
		"owner gone":             {Lifetime{Owners: []process.Owner{ended}}, " is gone"},
		"number of another":      {Lifetime{Owners: []process.Owner{another}}, " is gone"},
		"owner before a restart": {Lifetime{Owners: []process.Owner{before}}, " is gone"},
		"owner of another place": {Lifetime{Owners: []process.Owner{elsewhere}}, ""},
		"one of two gone":        {Lifetime{Owners: []process.Owner{ended, self}}, ""},
		"both gone":              {Lifetime{Owners: []process.Owner{ended, another}}, " are gone"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if over := test.l.Over(); (over == "") != (test.want == "") || !strings.Contains(over, test.want) {
				t.Errorf("over %q, want %q", over, test.want)
			}
			ctx, cancel := test.l.Within(t.Context())
			defer cancel()
			if test.want != "" {
				<-ctx.Done()
				if why := context.Cause(ctx).Error(); !strings.Contains(why, test.want) {
					t.Errorf("the context ended: %s", why)
				}
			}
		})
	}
	if l := (Lifetime{Owners: []process.Owner{ended}}).With(self).With(self); len(l.Owners) != 1 || l.Owners[0] != self {
		t.Errorf("owners %v", l.Owners)
	}
}

func TestReadAndWrite(t *testing.T) {
	dir := state.Dir(t.TempDir())
	if l, err := Read(dir); err != nil || !l.Endless() {
		t.Errorf("%v, %v", l, err)
	}
	want := Lifetime{Until: time.Now().Add(time.Hour).Round(time.Second), Owners: []process.Owner{identify(t, os.Getpid())}}
	if err := want.Write(dir); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(dir); err != nil || !got.Until.Equal(want.Until) || got.Owners[0] != want.Owners[0] {
		t.Errorf("%v, %v", got, err)
	}
	if err := (Lifetime{}).Write(dir); err != nil {
		t.Fatal(err)
	}
	if l, err := Read(dir); err != nil || !l.Endless() {
		t.Errorf("%v, %v", l, err)
	}
	if _, err := dir.Write([]byte("{"), file); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); err == nil {
		t.Error("a file that is cut short was read")
	}
}

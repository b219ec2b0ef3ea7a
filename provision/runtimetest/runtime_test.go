package runtimetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/devenv-oidc/devenv/provision"
	"github.com/devenv-oidc/devenv/provision/plan"
	"github.com/devenv-oidc/devenv/provision/process"
)

// fakeRuntime is what runs on a fake machine: one cluster, and a process.
type fakeRuntime struct {
	cluster *fake
	found   bool

	// what is wrong with it
	endless, speechless, careless, flagless bool
}

var _ provision.Runtime = (*fakeRuntime)(nil)

func (f *fakeRuntime) Plan() []plan.Step {
	if f.endless {
		return []plan.Step{{ID: "node", Needs: plan.Needs("node")}}
	}
	return []plan.Step{{ID: "node", Ensure: f.cluster.Boot}, {ID: "cluster", Needs: plan.Needs("node"), Ensure: f.cluster.Finish}}
}

func (f *fakeRuntime) Find(context.Context) error { f.found = true; return nil }

func (f *fakeRuntime) Made() bool { return f.cluster.Complete() }

func (f *fakeRuntime) State(ctx context.Context, _ string) (string, error) {
	if !f.found {
		return "", errors.New("nobody looked for it")
	}
	return f.cluster.State(ctx)
}

func (f *fakeRuntime) APIServerLog(ctx context.Context, _ string) (string, error) {
	return f.cluster.APIServerLog(ctx)
}

func (f *fakeRuntime) APIServerFlags(context.Context, string) ([]string, map[string]string, error) {
	if f.flagless {
		return nil, map[string]string{"oidc-client-id": "kubernetes"}, nil
	}
	return []string{"oidc-client-id=kubernetes"}, map[string]string{"oidc-client-id": "kubernetes"}, nil
}

func (f *fakeRuntime) APIServers(context.Context, string) ([]string, error) { return nil, nil }

func (f *fakeRuntime) RestartAPIServer(context.Context, string) error { return nil }

func (f *fakeRuntime) RenewCertificate(context.Context) error { return nil }

func (f *fakeRuntime) Kubectl(context.Context, string, []byte, ...string) (string, error) {
	if f.speechless {
		return "", nil
	}
	return "Client Version: v1.37.0\n", nil
}

func (f *fakeRuntime) Processes() []process.Status {
	if !f.cluster.running {
		return []process.Status{{Name: "dex", State: "absent"}}
	}
	return []process.Status{{Name: "dex", State: "running", PID: 1}}
}

func (f *fakeRuntime) CollectLogs(_ context.Context, folder string) error {
	return f.cluster.CollectLogs(folder)
}

func (f *fakeRuntime) Abandon(ctx context.Context, keepFailed bool) (bool, error) {
	if f.careless {
		return f.cluster.Delete(ctx)
	}
	return f.cluster.Abandon(ctx, keepFailed)
}

func (f *fakeRuntime) Remove(ctx context.Context) (bool, error) { return f.cluster.Delete(ctx) }

func environmentOf(t *testing.T, f fakeRuntime) Environment {
	return Environment{
		Open:    func() provision.Runtime { opened := f; opened.found = false; return &opened },
		Cluster: "main", Folder: filepath.Join(t.TempDir(), "logs"),
	}
}

func TestTheFakeRuntimePasses(t *testing.T) {
	if err := CheckAbsent(t.Context(), environmentOf(t, fakeRuntime{cluster: &fake{machine: &machine{}}})); err != nil {
		t.Errorf("absent: %v", err)
	}
	e := environmentOf(t, fakeRuntime{cluster: &fake{machine: &machine{there: true, complete: true, running: true}}})
	if err := CheckRunning(t.Context(), e); err != nil {
		t.Errorf("running: %v", err)
	}
	if _, err := os.Stat(e.Folder); err != nil {
		t.Error(err)
	}
}

func TestWhatIsWrongWithARuntimeIsFound(t *testing.T) {
	up := func() *fake { return &fake{machine: &machine{there: true, complete: true, running: true}} }
	for want, f := range map[string]fakeRuntime{
		"the plan can never finish":                           {cluster: &fake{machine: &machine{}}, endless: true},
		"its Made says yes":                                   {cluster: &fake{machine: &machine{complete: true}}},
		"the state of cluster main is incomplete, not absent": {cluster: &fake{machine: &machine{there: true}}},
	} {
		if err := CheckAbsent(t.Context(), environmentOf(t, f)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("absent: want %q, got %v", want, err)
		}
	}
	unstamped := up()
	unstamped.unstamped = true
	for want, f := range map[string]fakeRuntime{
		"its Made says no": {cluster: &fake{machine: &machine{}}},
		"the state of cluster main is stopped, not running":    {cluster: &fake{machine: &machine{there: true, complete: true}}},
		"a line of the API server's log":                       {cluster: unstamped},
		"its API server runs without --oidc-client-id=":        {cluster: up(), flagless: true},
		"its Kubectl says":                                     {cluster: up(), speechless: true},
		"Abandon with nothing under way answers true, not fal": {cluster: up(), careless: true},
	} {
		if err := CheckRunning(t.Context(), environmentOf(t, f)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("running: want %q, got %v", want, err)
		}
	}
}

package provision

import (
	"strings"
	"testing"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/state"
)

// made is a home with an environment "dev" whose cluster was finished.
func made(t *testing.T) state.Home {
	t.Helper()
	home := state.Home(t.TempDir())
	e, err := prepare(t.Context(), UpRequest{Home: home, Name: "dev", Runtime: profiles.RuntimeKind, Profile: load(t)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.env.Dir.Write(nil, "clusters", "main", "node", "complete"); err != nil {
		t.Fatal(err)
	}
	return home
}

func load(t *testing.T, set ...string) *profiles.Environment {
	t.Helper()
	p, err := profiles.Load("default", set...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestWhatIsRefusedChangesNothing(t *testing.T) {
	home := made(t)
	before, err := home.Dir("dev").Read("environment.json")
	if err != nil {
		t.Fatal(err)
	}
	for set, want := range map[string]string{
		"spec.clusters[0].trust.flags.groupsPrefix=x:": "spec.clusters[0].trust.flags.groupsPrefix: oidc: → x:",
		"spec.clusters[0].kubernetesVersion=v1.20.0":   "too old",
		"spec.clusters[0].kubernetesVersion=v1.99.0":   "no node image is pinned for Kubernetes v1.99.0",
	} {
		for _, recreate := range []bool{false, true} {
			if recreate && strings.Contains(set, "groupsPrefix") {
				continue // that is what --recreate is for
			}
			_, err := Up(t.Context(), UpRequest{Home: home, Name: "dev", Runtime: profiles.RuntimeKind, Profile: load(t, set), Recreate: recreate})
			if err == nil || failure.ClassOf(err) != failure.Usage || !strings.Contains(err.Error(), want) || len(failure.HintsOf(err)) == 0 && !strings.Contains(want, "old") {
				t.Errorf("%s, recreate %v: %v", set, recreate, err)
			}
		}
	}
	after, err := home.Dir("dev").Read("environment.json")
	if err != nil || string(after) != string(before) {
		t.Errorf("the record changed: %v", err)
	}
}

// An environment stays with the sources that it was made from, until others
// are named.
func TestSourcesAreRemembered(t *testing.T) {
	home := state.Home(t.TempDir())
	dir := state.Dir(t.TempDir())
	for _, name := range []string{"a", "b"} {
		if _, err := dir.Write([]byte("charts: {dex: {path: "+name+"}}\n"), name+".yaml"); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct{ sources, want string }{
		{"", ""}, {dir.Path("a.yaml"), dir.Path("a")}, {"", dir.Path("a")}, {dir.Path("b.yaml"), dir.Path("b")},
	} {
		if _, err := prepare(t.Context(), UpRequest{Home: home, Name: "dev", Runtime: profiles.RuntimeKind, Profile: load(t), Sources: step.sources}); err != nil {
			t.Fatal(err)
		}
		e, err := Open(t.Context(), home, "dev")
		if err != nil || e.env.Record.Pins.Charts["dex"].Path != step.want {
			t.Errorf("sources %q: %q, %v", step.sources, e.env.Record.Pins.Charts["dex"].Path, err)
		}
	}
}

func TestNames(t *testing.T) {
	for _, good := range []string{"a", "dev", "e2e-2", strings.Repeat("a", 20)} {
		if err := checkName(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "A", "1a", "a-", "a_b", "../x", strings.Repeat("a", 21)} {
		if checkName(bad) == nil {
			t.Errorf("%q is taken for a name", bad)
		}
	}
}

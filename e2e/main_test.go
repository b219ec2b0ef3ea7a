// Package e2e tests devenv as its users have it: the command, on real
// clusters, with real tokens. README.md says why the lab is as it is.
package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/flock"
)

var (
	binary string       // bin/devenv
	home   string       // DEVENV_HOME of every test
	held   *flock.Flock // on home, until this process ends: a local one would be collected, and so released
)

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	switch filepath.Base(os.Args[0]) {
	case racer: // TestPortTakenUnderneath
		race()
	case browser: // TestBrowserGrant
		browse()
	}
	var err error
	if binary, err = filepath.Abs("../bin/devenv"); err != nil {
		panic(err)
	}
	if _, err := os.Stat(binary); err != nil {
		fmt.Fprintln(os.Stderr, "bin/devenv is not built; run: make e2e")
		return 1
	}
	if home, err = os.MkdirTemp("", "devenv-e2e-"); err != nil {
		panic(err)
	}
	held = flock.New(filepath.Join(home, holding))
	if err := held.Lock(); err != nil {
		panic(err)
	}
	sweep()
	os.Setenv("DEVENV_HOME", home)
	os.Unsetenv("DEVENV_NAME")
	os.Unsetenv("KUBECONFIG")
	defer func() { // whatever a failed test left
		if out, err := exec.Command(binary, "down", "--all").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "devenv down --all: %v\n%s", err, out)
			return // the next run finds it by its folder
		}
		os.RemoveAll(home)
	}()
	return m.Run()
}

// holding is a file that a test run keeps locked in its state folder.
const holding = ".test-run"

// sweep deletes what test runs that were killed left behind: environments below
// state folders that no run holds, lost or not. Their names are those of this
// run.
func sweep() {
	pattern := filepath.Join(os.TempDir(), "devenv-e2e-*")
	homes, _ := filepath.Glob(pattern)
	ids, _ := exec.Command("docker", "ps", "-aq", "--filter", "label=io.x-k8s.kind.cluster").Output()
	for id := range strings.FieldsSeq(string(ids)) {
		mounts, _ := exec.Command("docker", "inspect", "--format", `{{range .Mounts}}{{println .Source}}{{end}}`, id).Output()
		for source := range strings.FieldsSeq(string(mounts)) {
			for dir := source; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
				if ok, _ := filepath.Match(pattern, dir); ok && !slices.Contains(homes, dir) {
					homes = append(homes, dir)
				}
			}
		}
	}
	for _, other := range homes {
		if other == home {
			continue
		}
		if info, err := os.Stat(other); err == nil {
			if _, err := os.Stat(filepath.Join(other, holding)); err != nil && time.Since(info.ModTime()) < time.Minute {
				continue // it is just about to be locked
			}
			if free, err := flock.New(filepath.Join(other, holding)).TryLock(); err != nil || !free {
				continue
			}
		}
		down := exec.Command(binary, "down", "--all")
		down.Env = append(os.Environ(), "DEVENV_HOME="+other)
		if out, err := down.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "what a killed test run left in %s: devenv down --all: %v\n%s", other, err, out)
			continue
		}
		os.RemoveAll(other)
	}
}

// The environments that most tests share: those on kind made together, and
// plain of processes, each at its first need.
const shared, beside, plain = "e2e", "e2e-beside", "e2e-plain"

var ensureShared = sync.OnceValue(func() error {
	errs := make([]error, 2)
	var group sync.WaitGroup
	for i, name := range []string{shared, beside} {
		group.Go(func() { errs[i] = makeShared(name, "auto") }) // which is kind, where an engine answers
	}
	group.Wait()
	return errors.Join(errs...)
})

var ensurePlain = sync.OnceValue(func() error { return makeShared(plain, "process") })

func makeShared(name, runtime string) error {
	out, err := exec.Command(binary, "up", "--name", name, "--runtime", runtime).CombinedOutput()
	if err != nil {
		return fmt.Errorf("devenv up --name %s --runtime %s: %w\n%s", name, runtime, err, out)
	}
	return nil
}

// needShared makes the shared environments on kind, both at once.
func needShared(t testing.TB) {
	t.Helper()
	if err := ensureShared(); err != nil {
		t.Fatal(err)
	}
}

// needPlain makes the shared environment of plain processes.
func needPlain(t testing.TB) {
	t.Helper()
	if err := ensurePlain(); err != nil {
		t.Fatal(err)
	}
}

// onBoth runs a test that needs no pod on both runtimes.
func onBoth(t *testing.T, test func(t *testing.T, name string)) {
	t.Run("process", func(t *testing.T) { needPlain(t); test(t, plain) })
	t.Run("kind", func(t *testing.T) { needShared(t); test(t, shared) })
}

// onEach makes an environment of a profile on each runtime, both at once, and
// runs a test on them.
func onEach(t *testing.T, profile string, test func(t *testing.T, name string)) {
	t.Helper()
	runtimes := []string{"process", "kind"}
	results := make([]result, len(runtimes))
	var group sync.WaitGroup
	for i, runtime := range runtimes {
		group.Go(func() {
			results[i] = devenv(t, "up", "--name", "e2e-"+profile[:4]+"-"+runtime, "--profile", profile, "--runtime", runtime, "--timeout", "4m")
		})
	}
	group.Wait()
	for i, runtime := range runtimes {
		name := "e2e-" + profile[:4] + "-" + runtime
		t.Run(runtime, func(t *testing.T) {
			defer must(t, "down", "--name", name)
			results[i].wants(t, 0, "ready and proven")
			test(t, name)
		})
	}
}

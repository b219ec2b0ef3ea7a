// Package e2e tests devenv as its users have it: the command, on real
// clusters, with real tokens. README.md says why the lab is as it is.
package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

var (
	binary string // bin/devenv
	home   string // DEVENV_HOME of every test
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
	defer os.RemoveAll(home)
	os.Setenv("DEVENV_HOME", home)
	os.Unsetenv("DEVENV_NAME")
	os.Unsetenv("KUBECONFIG")
	defer func() { // whatever a failed test left
		if out, err := exec.Command(binary, "down", "--all").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "devenv down --all: %v\n%s", err, out)
		}
	}()
	return m.Run()
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

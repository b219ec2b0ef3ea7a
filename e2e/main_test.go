// Package e2e tests devenv as its users have it: the command, on real
// clusters, with real tokens. README.md says why the lab is as it is.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/devenv-oidc/devenv/provision"
)

// limit for one command; `up` needs half a minute on two cores, two at once a
// minute.
const limit = 5 * time.Minute

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

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

// result is what a command left behind.
type result struct {
	stdout, stderr string
	code           int
}

// devenv runs the command to its end.
func devenv(t testing.TB, args ...string) result {
	t.Helper()
	return runWith(t, nil, args...)
}

// runWith runs the command with more environment variables.
func runWith(t testing.TB, environ []string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	c := exec.CommandContext(ctx, binary, args...)
	c.Env = append(os.Environ(), environ...)
	var out, errOut bytes.Buffer
	c.Stdout, c.Stderr = &out, &errOut
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("devenv %s: %v", strings.Join(args, " "), err)
	}
	return result{out.String(), errOut.String(), c.ProcessState.ExitCode()}
}

// must runs the command and wants it to succeed.
func must(t testing.TB, args ...string) result {
	t.Helper()
	r := devenv(t, args...)
	if r.code != 0 {
		t.Fatalf("devenv %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r
}

// wants compares an exit code, and looks for texts in what was said.
func (r result) wants(t testing.TB, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d", r.code, code)
	}
	for _, text := range texts {
		if !strings.Contains(r.stdout+r.stderr, text) {
			t.Errorf("it did not say %q", text)
		}
	}
	if t.Failed() {
		t.Logf("stdout:\n%s\nstderr:\n%s", r.stdout, r.stderr)
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

func statusOf(t testing.TB, name string) provision.Status {
	t.Helper()
	var s provision.Status
	if err := json.Unmarshal([]byte(must(t, "status", "--name", name, "--output", "json").stdout), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func docker(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// kubectl is the host's, or a node's own where the host has none.
func kubectl(t testing.TB, kubeconfig string, args ...string) (stdout string, err error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), kubectlPath(t), args...)
	c.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	var out, errOut bytes.Buffer
	c.Stdout, c.Stderr = &out, &errOut
	if err := c.Run(); err != nil {
		return out.String(), fmt.Errorf("%w: %s", err, errOut.String())
	}
	return out.String(), nil
}

var nodesKubectl sync.Once

func kubectlPath(t testing.TB) string {
	t.Helper()
	if path, err := exec.LookPath("kubectl"); err == nil {
		return path
	}
	path := filepath.Join(home, ".kubectl", "kubectl")
	nodesKubectl.Do(func() {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		docker(t, "cp", "--follow-link", node(shared)+":/usr/bin/kubectl", path)
	})
	return path
}

// node is the name of an environment's only container.
func node(name string) string { return "devenv-" + name + "-main-control-plane" }

// eventually asks until there is no error; it says what was waited for.
func eventually(t testing.TB, what string, wait time.Duration, ask func() error) {
	t.Helper()
	deadline := time.Now().Add(wait)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen within %s: %v", what, wait, err)
		}
		<-time.After(200 * time.Millisecond) // ask again
	}
}

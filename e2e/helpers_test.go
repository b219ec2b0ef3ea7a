package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision"
)

// limit for one command; `up` needs half a minute on two cores, two at once a
// minute.
const limit = 5 * time.Minute

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

// nodeImage is the node image of the version that is the default.
func nodeImage(t testing.TB) string {
	t.Helper()
	pins, err := profiles.PinnedWith(os.Getenv("DEVENV_SOURCES"))
	if err != nil {
		t.Fatal(err)
	}
	return pins.NodeImages[pins.DefaultKubernetes].Image
}

// node is the name of an environment's only container.
func node(name string) string { return "devenv-" + name + "-main-control-plane" }

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

// start starts the command, in a process group of its own as a shell does, and
// returns when its stderr has a line with a text.
func start(t *testing.T, until string, args ...string) (c *exec.Cmd, stderr func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	c = exec.CommandContext(ctx, binary, args...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(pipe)
	said := ""
	for !strings.Contains(said, until) {
		line, err := reader.ReadString('\n')
		said += line
		if err != nil {
			t.Fatalf("devenv %s ended before it said %q:\n%s", strings.Join(args, " "), until, said)
		}
	}
	return c, func() string {
		rest, _ := io.ReadAll(reader)
		return said + string(rest)
	}
}

// nothingLeft fails if anything of an environment is on the machine.
func nothingLeft(t *testing.T, name string) {
	t.Helper()
	if out := docker(t, "ps", "-a", "--format={{.Names}}"); strings.Contains(out, node(name)) {
		t.Errorf("containers: %s", out)
	}
	if out := docker(t, "network", "ls", "--format={{.Name}}"); strings.Contains(out, "devenv") {
		t.Errorf("networks: %s", out)
	}
	entries, err := os.ReadDir(home)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.TrimSuffix(strings.TrimPrefix(e.Name(), "."), ".lock") == name {
			t.Errorf("state: %s", e.Name())
		}
	}
}

// volumes are the names of all volumes; kind's nodes have anonymous ones.
// emptied waits until nothing is left in a state folder, and wants nothing of it
// to run.
func emptied(t *testing.T, state, after string) {
	t.Helper()
	eventually(t, "the environment to go after "+after, 20*time.Second, func() error {
		entries, err := os.ReadDir(state)
		if err == nil && len(entries) > 0 {
			err = fmt.Errorf("%s is there", entries[0].Name())
		}
		return err
	})
	if out, err := exec.Command("pgrep", "--full", "--list-full", state).Output(); err == nil {
		t.Errorf("after %s these run:\n%s", after, out)
	}
}

func volumes(t *testing.T) string { return docker(t, "volume", "ls", "-q") }

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

// freePorts are some that nobody listens on.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l := listen(t)
		defer l.Close()
		ports = append(ports, portOf(l))
	}
	return ports
}

// write puts text into a file of the test.
func write(t *testing.T, name, text string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// chromium starts the browser, with a folder as its user's home; the context is
// one of its tabs.
func chromium(t *testing.T, home string) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	t.Cleanup(cancel)
	profile, err := os.MkdirTemp("", "devenv-chromium-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(profile) }) // its helpers may still be writing
	ctx, stop := chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"), chromedp.NoSandbox, // root may not have one
		chromedp.Env("HOME="+home), chromedp.UserDataDir(profile))...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	t.Cleanup(func() { _ = chromedp.Cancel(ctx) }) // which waits until it has ended
	return ctx
}

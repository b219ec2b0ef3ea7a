package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/devenv-oidc/devenv/profiles"
)

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
func volumes(t *testing.T) string { return docker(t, "volume", "ls", "-q") }

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

func TestInterruptedWhileTheClusterIsMade(t *testing.T) {
	needShared(t)
	const name = "e2e-stop"
	before := volumes(t)
	c, stderr := start(t, "Start node of cluster", "up", "--name", name)
	interrupted := time.Now()
	if err := syscall.Kill(-c.Process.Pid, syscall.SIGINT); err != nil { // as Ctrl-C does
		t.Fatal(err)
	}
	said := stderr()
	_ = c.Wait()
	if took := time.Since(interrupted); took > 15*time.Second {
		t.Errorf("it took %s to stop", took)
	}
	result{"", said, c.ProcessState.ExitCode()}.wants(t, 130, "error: interrupted; not done:", "hint: ", "devenv up --name "+name, "devenv down --name "+name)
	if out := docker(t, "ps", "-a", "--format={{.Names}}"); strings.Contains(out, name) {
		t.Errorf("a half-made cluster was left: %s", out)
	}
	must(t, "down", "--name", name)
	nothingLeft(t, name)
	if after := volumes(t); after != before {
		t.Errorf("volumes before:\n%s\nafter:\n%s", before, after)
	}
}

// Killed without a chance to clean up, and up again: what was left is replaced.
func TestKilledAndUpAgain(t *testing.T) {
	needShared(t)
	const name = "e2e-kill"
	before := volumes(t)
	c, stderr := start(t, "Start node of cluster", "up", "--name", name)
	if err := syscall.Kill(-c.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	stderr()
	_ = c.Wait()
	if s := statusOf(t, name); s.Ready || s.Clusters[0].State != "incomplete" {
		t.Errorf("ready %v, cluster %s", s.Ready, s.Clusters[0].State)
	}
	// up again, and interrupted when the cluster is there but not the rest
	c, stderr = start(t, "complete, flags in place", "up", "--name", name)
	if err := syscall.Kill(-c.Process.Pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	said := stderr()
	_ = c.Wait()
	result{"", said, c.ProcessState.ExitCode()}.wants(t, 130, "go on where it stopped: devenv up --name "+name)
	id := docker(t, "inspect", "--format={{.Id}}", node(name))
	must(t, "up", "--name", name)
	if docker(t, "inspect", "--format={{.Id}}", node(name)) != id {
		t.Error("up made a new cluster instead of going on")
	}
	// half of it goes away behind devenv's back
	docker(t, "rm", "-f", "-v", node(name))
	devenv(t, "status", "--name", name).wants(t, 0, "absent", "does not answer")
	devenv(t, "check", "--name", name).wants(t, 4, "error: ", "hint: ", "devenv up --name "+name)
	must(t, "down", "--name", name)
	nothingLeft(t, name)
	devenv(t, "down", "--name", name).wants(t, 0, "nothing to delete")
	if after := volumes(t); after != before {
		t.Errorf("volumes before:\n%s\nafter:\n%s", before, after)
	}
}

func TestRestartedNode(t *testing.T) {
	needShared(t)
	docker(t, "stop", node(beside))
	if s := statusOf(t, beside); s.Ready || s.Clusters[0].State != "stopped" {
		t.Errorf("ready %v, cluster %s", s.Ready, s.Clusters[0].State)
	}
	r := must(t, "up", "--name", beside)
	if !strings.Contains(r.stderr, "✓ Start node of cluster main") || !strings.Contains(r.stderr, "· Seed clients and users") {
		t.Errorf("up after a restart:\n%s", r.stderr)
	}
	// and by itself, as after a restart of the engine
	docker(t, "restart", node(beside))
	eventually(t, "a green check after the restart", 2*time.Minute, func() error {
		if r := devenv(t, "check", "--name", beside); r.code != 0 {
			return errors.New(r.stderr)
		}
		return nil
	})
}

func TestRenewedCertificateIsServed(t *testing.T) {
	needShared(t)
	s := statusOf(t, shared)
	admin := s.Clusters[0].Kubeconfig
	serial := func() string {
		conn, err := tls.Dial("tcp", s.Issuer.Address, &tls.Config{InsecureSkipVerify: true, ServerName: "dex.e2e.localhost"})
		if err != nil {
			return ""
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := serial()
	if before == "" {
		t.Fatal("the issuer shows no certificate")
	}
	// as `cmctl renew` does
	patch := fmt.Sprintf(`{"status":{"conditions":[{"type":"Issuing","status":"True","reason":"ManuallyTriggered","message":"by a test","lastTransitionTime":%q}]}}`, time.Now().UTC().Format(time.RFC3339))
	if _, err := kubectl(t, admin, "--namespace=dex", "patch", "certificate", "dex-serving", "--subresource=status", "--type=merge", "--patch", patch); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another certificate on the issuer", time.Minute, func() error {
		if now := serial(); now == "" || now == before {
			return fmt.Errorf("it is still %s", now)
		}
		return nil
	})
	if _, err := kubectl(t, admin, "--namespace=dex", "rollout", "status", "deployment/dex", "--timeout=60s"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a green check after the renewal", 20*time.Second, func() error {
		if r := devenv(t, "check", "--name", shared); r.code != 0 {
			return errors.New(r.stderr)
		}
		return nil
	})
	must(t, "up", "--name", shared)
}

// A cluster that somebody else made stays as it is, whatever is asked.
func TestForeignClusterIsLeftAlone(t *testing.T) {
	needShared(t)
	image := docker(t, "inspect", "--format={{.Config.Image}}", node(shared))
	const foreign = "devenv-e2e-foreign-main-control-plane"
	docker(t, "create", "--name", foreign, "--label=io.x-k8s.kind.cluster=devenv-e2e-foreign-main", "--label=io.x-k8s.kind.role=control-plane", image)
	t.Cleanup(func() { docker(t, "rm", "-f", "-v", foreign) })
	devenv(t, "up", "--name", "e2e-foreign").wants(t, 3, `error: `, `kind cluster "devenv-e2e-foreign-main" that does not belong`, "hint: ")
	must(t, "down", "--name", "e2e-foreign")
	if out := docker(t, "ps", "-a", "--format={{.Names}}", "--filter=name="+foreign); out != foreign {
		t.Errorf("the foreign cluster is gone: %q", out)
	}
}

func TestPortTaken(t *testing.T) {
	needShared(t)
	var listener net.Listener
	port := 32700
	for ; listener == nil; port++ {
		listener, _ = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	}
	port--
	defer listener.Close()
	devenv(t, "up", "--name", "e2e-port", "--set", fmt.Sprintf("spec.dex.port=%d", port)).
		wants(t, 3, fmt.Sprintf("port %d on 127.0.0.1 is taken", port), "hint: see what listens there: ss -ltnp", "hint: or choose another one in the profile: spec.dex.port", "hint: or delete it: devenv down --name e2e-port")
	must(t, "down", "--name", "e2e-port")
	nothingLeft(t, "e2e-port")
}

func TestMissingImage(t *testing.T) {
	sources := filepath.Join(t.TempDir(), "sources.yaml")
	text := "nodeImages:\n  " + profiles.Pinned().DefaultKubernetes + ": {image: 'devenv-lab/none:v0', archive: none.tar}\n"
	if own := os.Getenv("DEVENV_SOURCES"); own != "" { // keep its charts
		pins, err := profiles.PinnedWith(own)
		if err != nil {
			t.Fatal(err)
		}
		text += "charts:\n  dex: {path: " + pins.Charts["dex"].Path + ", version: x, images: {}}\n  cert-manager: {path: " + pins.Charts["cert-manager"].Path + ", version: x, images: {}}\n"
	}
	if err := os.WriteFile(sources, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	runWith(t, []string{"DEVENV_SOURCES=" + sources}, "up", "--name", "e2e-image").wants(t, 3, "could not get the image devenv-lab/none:v0", "hint: ")
	must(t, "down", "--name", "e2e-image")
	nothingLeft(t, "e2e-image")
}

func TestWrongLogins(t *testing.T) { onBoth(t, testWrongLogins) }

func testWrongLogins(t *testing.T, name string) {
	devenv(t, "token", "--name", name, "--user", "dave@example.com").wants(t, 2, `there is no user "dave@example.com"`, "did you mean dev@example.com?")
	devenv(t, "token", "--name", name, "--client", "demo").wants(t, 2, `there is no client "demo"`, "demo-app")
	r := runWith(t, []string{"DEVENV_PASSWORD=wrong"}, "token", "--name", name)
	r.wants(t, 5, "Dex rejected the login of admin@example.com", "Invalid username or password", "hint: ")
	if r.stdout != "" {
		t.Errorf("stdout: %s", r.stdout)
	}
	devenv(t, "kubeconfig", "--name", name, "--cluster", "other").wants(t, 2, `there is no cluster "other"`, "main")
	devenv(t, "status", "--name", "e2f").wants(t, 2, `there is no environment "e2f"`, "did you mean devenv --name e2e?")
}

func TestAnotherDevenvIsAtWork(t *testing.T) {
	needShared(t)
	c, stderr := start(t, "unchanged", "up", "--name", shared)
	r := devenv(t, "down", "--name", shared)
	stderr()
	_ = c.Wait()
	if r.code == 0 {
		t.Fatal("down took an environment away that another devenv was working on")
	}
	r.wants(t, 3, `another devenv is working on environment "e2e"`, "hint: ")
}

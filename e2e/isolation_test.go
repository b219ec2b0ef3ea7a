package e2e

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/devenv-oidc/devenv/provision/kube"
)

// Dex's gRPC API, which makes anybody an administrator, opens only to the
// client certificate that devenv has.
func TestAdministrationOfDexIsClosed(t *testing.T) {
	needShared(t)
	admin := statusOf(t, shared).Clusters[0].Kubeconfig
	out, err := kubectl(t, admin, "--namespace=dex", "get", "services", "--output=jsonpath={range .items[*]}{.spec.type} {.spec.ports[*].targetPort}{\"\\n\"}{end}")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "NodePort") && strings.TrimSpace(line) != "NodePort 5554" {
			t.Errorf("more than https is open on the node: %s", line)
		}
	}
	text, err := os.ReadFile(admin)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kube.New(text)
	if err != nil {
		t.Fatal(err)
	}
	address, stop, err := client.Forward(t.Context(), "dex", "app.kubernetes.io/name=dex", 5557)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err == nil { // in TLS 1.3 the rejection comes with the first answer
		defer conn.Close()
		_, err = conn.Read(make([]byte, 1))
	}
	if err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("without a certificate: %v", err)
	}
}

func TestSecretsStayIn(t *testing.T) {
	needShared(t)
	ownersAlone(t, filepath.Join(home, shared))
	var record struct {
		Profile struct {
			Spec struct {
				Dex struct {
					Users   []struct{ Password string }
					Clients []struct{ Secret string }
				}
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(home, shared, "environment.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &record); err != nil {
		t.Fatal(err)
	}
	secrets := []string{record.Profile.Spec.Dex.Clients[1].Secret}
	for _, u := range record.Profile.Spec.Dex.Users {
		secrets = append(secrets, u.Password)
	}
	said := must(t, "status", "--name", shared, "--output", "json").stdout + must(t, "up", "--name", shared).stderr
	logs, err := filepath.Glob(filepath.Join(home, shared, "logs", "*"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no logs: %v", err)
	}
	for _, file := range logs {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		said += string(text)
	}
	for _, s := range secrets {
		if s == "" || strings.Contains(said, s) {
			t.Errorf("a secret is empty or was said: %q", s)
		}
	}
	ports := docker(t, "port", node(shared))
	for line := range strings.Lines(ports) {
		if !strings.Contains(line, "-> 127.0.0.1:") {
			t.Errorf("a port listens elsewhere than on the loopback: %s", line)
		}
	}
}

// ownersAlone fails if a file of an environment can be read by others.
func ownersAlone(t *testing.T, folder string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) { // etcd's files come and go
			return nil
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		want := os.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Nothing listens elsewhere than on the loopback, no file can be read by
// others, and nothing opens without a certificate.
func TestProcessesAreClosed(t *testing.T) {
	needPlain(t)
	inodes := map[string]bool{}
	for _, pid := range running(t, plain) {
		links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range links {
			if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, "socket:[") {
				inodes[strings.Trim(target, "socket:[]")] = true
			}
		}
	}
	listening := 0
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line) // proc_net_tcp: local address, remote, state 0A for listening, …, inode
			if len(fields) < 10 || fields[3] != "0A" || !inodes[fields[9]] {
				continue
			}
			listening++
			if !strings.HasPrefix(fields[1], "0100007F:") {
				t.Errorf("a port listens at %s", fields[1])
			}
		}
	}
	if listening != 5 { // API server, etcd twice, Dex twice
		t.Errorf("%d ports listen", listening)
	}
	ownersAlone(t, filepath.Join(home, plain))
	ports := portsOf(t, plain)
	for _, port := range ports {
		out, err := exec.Command("curl", "--silent", "--insecure", "--max-time", "5", fmt.Sprintf("https://127.0.0.1:%d/v2/keys", port)).CombinedOutput()
		if err == nil && !strings.Contains(string(out), `"code": 403`) && !strings.Contains(string(out), "404 page not found") {
			t.Errorf("port %d answers to somebody without a certificate: %s", port, out)
		}
	}
}

// A cluster that somebody else made stays as it is, whatever is asked.
func TestForeignClusterIsLeftAlone(t *testing.T) {
	needShared(t)
	image := docker(t, "inspect", "--format={{.Config.Image}}", node(shared))
	const foreign = "devenv-e2e-foreign-main-control-plane"
	docker(t, "rm", "-f", "-v", foreign) // of a run that was killed
	docker(t, "create", "--name", foreign, "--label=io.x-k8s.kind.cluster=devenv-e2e-foreign-main", "--label=io.x-k8s.kind.role=control-plane", image)
	t.Cleanup(func() { docker(t, "rm", "-f", "-v", foreign) })
	devenv(t, "up", "--name", "e2e-foreign").wants(t, 3, `error: `, `kind cluster "devenv-e2e-foreign-main" that does not belong`, "hint: ")
	must(t, "down", "--name", "e2e-foreign")
	if out := docker(t, "ps", "-a", "--format={{.Names}}", "--filter=name="+foreign); out != foreign {
		t.Errorf("the foreign cluster is gone: %q", out)
	}
}

// The record names a process that is another's by now: `down` leaves it alone.
func TestRecycledNumberIsLeftAlone(t *testing.T) {
	t.Parallel()
	const name = "e2e-recycled"
	must(t, "up", "--name", name, "--runtime", "process")
	bystander := exec.Command("sleep", "1000")
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- bystander.Wait() }()
	defer func() { _ = bystander.Process.Kill(); <-ended }()
	kill(t, pidOf(t, name, "dex"))
	file := filepath.Join(home, name, "processes", "dex.json")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`"pid":\d+`).ReplaceAll(text, fmt.Appendf(nil, `"pid":%d`, bystander.Process.Pid))
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if p := processOf(t, name, "dex"); p.State != "ended" {
		t.Errorf("the bystander is taken for Dex, which is %s", p.State)
	}
	must(t, "up", "--name", name)
	if err := os.WriteFile(file, text, 0o600); err != nil { // Dex is a stray now
		t.Fatal(err)
	}
	must(t, "down", "--name", name)
	noProcessLeft(t, name)
	select {
	case <-ended:
		t.Error("the bystander was ended")
	default:
	}
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

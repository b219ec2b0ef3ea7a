package e2e

import (
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

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

func TestKilledProcessesComeBack(t *testing.T) {
	needPlain(t)
	token := strings.TrimSpace(must(t, "token", "--name", plain).stdout)
	for _, process := range []string{"dex", "main.kube-controller-manager", "main.kube-apiserver", "main.etcd"} {
		t.Run(process, func(t *testing.T) {
			kill(t, pidOf(t, plain, process))
			if p := processOf(t, plain, process); p.State != "ended" || p.LastLines == "" {
				t.Errorf("status says that it is %s, its last lines are %q", p.State, p.LastLines)
			}
			devenv(t, "status", "--name", plain).wants(t, 0, process+", ended, its log is ", "ready        no", "process "+process+" is ended", "find out why: devenv doctor --name "+plain)
			r := must(t, "up", "--name", plain)
			if !strings.Contains(r.stderr, "✓") {
				t.Errorf("up says that it changed nothing:\n%s", r.stderr)
			}
			if s := statusOf(t, plain); !s.Ready {
				t.Errorf("it is not ready: %+v", s.Processes)
			}
		})
	}
	// Dex has its keys and the API server its objects: an old token is good
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	text := must(t, "kubeconfig", "--name", plain, "--flavor", "token").stdout
	text = regexp.MustCompile(`token: \S+`).ReplaceAllString(text, "token: "+token)
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := kubectl(t, kubeconfig, "auth", "whoami", "--output=jsonpath={.status.userInfo.username}"); err != nil || out != "admin@example.com" {
		t.Errorf("with a token from before: %q, %v", out, err)
	}
}

// cert-manager renews Dex's certificate, and Dex serves it; the drill proves what
// else must be true.
func TestRenewedCertificateIsServed(t *testing.T) {
	needShared(t)
	rotatesCertificates(t, shared, "dex."+shared+".localhost")
	mustKubectl(t, statusOf(t, shared).Clusters[0].Kubeconfig, "--namespace=dex", "rollout", "status", "deployment/dex", "--timeout=60s")
	eventually(t, "a green check after the renewal", 20*time.Second, func() error {
		if r := devenv(t, "check", "--name", shared); r.code != 0 {
			return errors.New(r.stderr)
		}
		return nil
	})
	must(t, "up", "--name", shared)
}

// rotatesCertificates does so, and looks itself at what is served before and
// after.
func rotatesCertificates(t *testing.T, name, host string) {
	t.Helper()
	address := statusOf(t, name).Issuer.Address
	serial := func() string {
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, ServerName: host})
		noError(t, err)
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Text(16)
	}
	before := serial()
	r := devenv(t, "rotate", "certificates", "--name", name)
	r.wants(t, 0, "Dex serves the certificate", "the earlier one was "+before, "every cluster accepts new tokens, and those from before")
	if now := serial(); now == before || !strings.Contains(r.stderr, "Dex serves the certificate "+now) {
		t.Errorf("it serves %s, and served %s; the drill said:\n%s", now, before, r.stderr)
	}
}

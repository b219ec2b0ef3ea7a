package e2e

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/devenv-oidc/devenv/provision/trust"
)

// damaged is the environment of TestDamagesHeal alone.
const damaged = "e2e-damaged"

// What is damaged on a node heals: each thing by itself, named by doctor, and
// several at once.
func TestDamagesHeal(t *testing.T) {
	t.Parallel()
	must(t, "up", "--name", damaged, "--runtime", "kind")
	defer must(t, "down", "--name", damaged)
	t.Run("each", damagedNodeHeals)
	t.Run("at once", damagesAtOnceHeal)
}

// What else is deleted or spoiled on a node: `up` brings it back, and proves it.
// Several at once are harder than each alone.
func damagesAtOnceHeal(t *testing.T) {
	admin := statusOf(t, damaged).Clusters[0].Kubeconfig
	ctl := func(args ...string) { t.Helper(); mustKubectl(t, admin, args...) }
	for _, damage := range []struct {
		name  string
		plant func()
	}{
		{"Dex's Deployment, Helm release, serving certificate and users deleted, cert-manager's namespace too", func() {
			ctl("--namespace=dex", "delete", "deployment", "dex")
			ctl("--namespace=dex", "delete", "secret", "--selector=owner=helm,name=dex")
			ctl("--namespace=dex", "delete", "secret", "dex-serving")
			ctl("--namespace=dex", "delete", "passwords.dex.coreos.com", "--all")
			ctl("delete", "namespace", "cert-manager")
		}},
		{"the gRPC certificate of a Dex that runs expired", func() {
			replaceCertificate(t, admin, "dex-grpc", "grpc-ca", "grpc.dex")
			ctl("--namespace=dex", "rollout", "restart", "deployment", "dex")
			ctl("--namespace=dex", "rollout", "status", "deployment", "dex", "--timeout=60s")
		}},
		{"Dex's CRDs deleted, and with them its keys, users and clients", func() {
			var names []string
			for name := range strings.FieldsSeq(mustKubectl(t, admin, "get", "customresourcedefinitions", "--output=name")) {
				if strings.HasSuffix(name, ".dex.coreos.com") {
					names = append(names, name)
				}
			}
			ctl(append([]string{"delete"}, names...)...)
		}},
		{"serving certificate expired while cert-manager does not run", func() {
			ctl("--namespace=cert-manager", "scale", "deployment", "--all", "--replicas=0")
			ctl("--namespace=dex", "scale", "deployment", "dex-certificate-watcher", "--replicas=0")
			replaceCertificate(t, admin, "dex-serving", "ca", "dex."+damaged+".localhost")
			ctl("--namespace=dex", "rollout", "restart", "deployment", "dex")
			ctl("--namespace=dex", "rollout", "status", "deployment", "dex", "--timeout=60s")
			eventually(t, "the certificate to be what doctor finds", 30*time.Second, func() error { // the Service still leads to the earlier pod
				r := devenv(t, "doctor", "--name", damaged)
				if r.code != 5 || !strings.Contains(r.stderr, "the first hop that fails is tls: the issuer's certificate is not valid now") {
					return errors.New(r.stdout + r.stderr)
				}
				return nil
			})
		}},
		{"the node removed", func() { docker(t, "rm", "-f", "-v", node(damaged)) }},
	} {
		damage.plant()
		began := time.Now()
		must(t, "up", "--name", damaged, "--timeout", "3m")
		for _, d := range []string{"dex/dex", "dex/dex-certificate-watcher", "cert-manager/cert-manager"} {
			namespace, deployment, _ := strings.Cut(d, "/")
			if available := mustKubectl(t, admin, "--namespace", namespace, "get", "deployment", deployment, "--output=jsonpath={.status.availableReplicas}"); available != "1" {
				t.Errorf("%s: Deployment %s has %q available pods", damage.name, d, available)
			}
		}
		t.Logf("%s: healed in %.0f s", damage.name, time.Since(began).Seconds())
		if s := statusOf(t, damaged); s.State != "running" {
			t.Errorf("%s: %s, %v, %v", damage.name, s.State, s.Problems, s.Differences)
		}
	}
}

// expired is a server certificate that was valid until a moment ago, signed by a
// CA in the environment's folder.
func expired(t *testing.T, folder, ca, host string) trust.Pair {
	t.Helper()
	cert, certErr := os.ReadFile(filepath.Join(folder, ca+".crt"))
	key, keyErr := os.ReadFile(filepath.Join(folder, ca+".key"))
	noError(t, certErr)
	noError(t, keyErr)
	authority, err := trust.ParseCA(cert, key)
	noError(t, err)
	pair, err := authority.ServerPair(time.Second, host) // from a minute ago
	noError(t, err)
	return pair
}

// replaceCertificate puts an expired certificate in a Secret of Dex's.
func replaceCertificate(t *testing.T, admin, secret, ca, host string) {
	t.Helper()
	pair := expired(t, filepath.Join(home, damaged), ca, host)
	patch, err := json.Marshal(map[string]any{"data": map[string]string{
		"tls.crt": base64.StdEncoding.EncodeToString(pair.CertPEM), "tls.key": base64.StdEncoding.EncodeToString(pair.KeyPEM),
	}})
	noError(t, err)
	mustKubectl(t, admin, "--namespace=dex", "patch", "secret", secret, "--patch="+string(patch))
}

// The same for processes, in a folder that programs stumble over, for a user
// whose files everybody may read and write.
func TestDamagedProcessesHeal(t *testing.T) {
	t.Parallel()
	state := filepath.Join(t.TempDir(), "Zustand für "+strings.Repeat("ä", 40)+" 'x' $y")
	folder := filepath.Join(state, "dev")
	run := func(code int, args []string, says ...string) {
		t.Helper()
		c := exec.CommandContext(t.Context(), "sh", append([]string{"-c", `umask 000; exec "$0" "$@"`, binary}, args...)...)
		c.Env = append(os.Environ(), "DEVENV_HOME="+state)
		var out, errOut strings.Builder
		c.Stdout, c.Stderr = &out, &errOut
		_ = c.Run()
		result{out.String(), errOut.String(), c.ProcessState.ExitCode()}.wants(t, code, says...)
		if t.Failed() {
			t.FailNow()
		}
	}
	up := []string{"up", "--runtime", "process", "--timeout", "1m"}
	defer func() { // also where the test ends half-way
		c := exec.Command(binary, "down", "--all")
		c.Env = append(os.Environ(), "DEVENV_HOME="+state)
		_ = c.Run()
	}()
	run(0, up)
	ownersAlone(t, folder)
	expire := func(pair, ca, host string) {
		made := expired(t, folder, ca, host)
		noError(t, os.WriteFile(filepath.Join(folder, "dex", pair+".crt"), made.CertPEM, 0o600))
		noError(t, os.WriteFile(filepath.Join(folder, "dex", pair+".key"), made.KeyPEM, 0o600))
	}
	noError(t, os.RemoveAll(filepath.Join(folder, "clusters", "main", "etcd")))
	run(0, up, "ready and proven")
	expire("serving", "ca", "localhost")
	run(0, up, "ready and proven")
	expire("grpc", "grpc-ca", "grpc.dex")
	run(0, up, "ready and proven")

	// behind our back: a password, and a client's secret
	admin := filepath.Join(folder, "clusters", "main", "admin.kubeconfig")
	name := strings.Fields(mustKubectl(t, admin, "--namespace=dex", "get", "passwords.dex.coreos.com", "--output=jsonpath={range .items[?(@.email==\"admin@example.com\")]}{.metadata.name}{end}"))[0]
	other, err := bcrypt.GenerateFromPassword([]byte("other"), 10)
	noError(t, err)
	mustKubectl(t, admin, "--namespace=dex", "patch", "passwords.dex.coreos.com", name, "--type=merge", "--patch", fmt.Sprintf(`{"hash":%q}`, base64.StdEncoding.EncodeToString(other)))
	run(5, []string{"token"}, "hint: ")
	run(0, up, "ready and proven")
	for client := range strings.FieldsSeq(mustKubectl(t, admin, "--namespace=dex", "get", "oauth2clients.dex.coreos.com", "--output=name")) {
		mustKubectl(t, admin, "--namespace=dex", "patch", client, "--type=merge", "--patch", `{"secret":"other"}`)
	}
	run(0, up, "ready and proven")

	record := filepath.Join(folder, "environment.json")
	text, err := os.ReadFile(record)
	noError(t, err)
	noError(t, os.WriteFile(record, text[:len(text)/2], 0o600))
	for _, command := range []string{"check", "status", "up"} {
		run(2, []string{command}, "could not read "+record, "devenv down")
	}
	run(0, []string{"down"}, "deleted")
	run(0, up, "ready and proven")

	before, err := os.ReadFile(filepath.Join(folder, "ca.crt"))
	noError(t, err)
	run(0, append(up, "--recreate"), "✓ Create certificate authority", "ready and proven")
	if after, err := os.ReadFile(filepath.Join(folder, "ca.crt")); err != nil || string(after) == string(before) {
		t.Errorf("up --recreate created nothing again: %v", err)
	}

	noError(t, os.RemoveAll(folder)) // and what runs is all that is left
	run(2, []string{"doctor"}, `processes of environment "dev" are there, but not its record`, "hint: delete them: devenv down")
	run(0, []string{"down", "--all"}, "environment dev: deleted")
	run(0, []string{"list"}, "no environments")
}

// devenv is killed at random moments of `up`: the next one ends well, whatever
// there was, and `down` leaves nothing. DEVENV_KILLS is how many rounds.
func TestKilledAtRandom(t *testing.T) {
	t.Parallel()
	rounds := 4
	if text := os.Getenv("DEVENV_KILLS"); text != "" {
		var err error
		rounds, err = strconv.Atoi(text)
		noError(t, err)
	}
	for runtime, longest := range map[string]time.Duration{"process": 4 * time.Second, "kind": 20 * time.Second} {
		rounds := rounds
		if runtime == "kind" {
			rounds = max(1, rounds/4)
		}
		t.Run(runtime, func(t *testing.T) {
			if runtime == "kind" {
				needShared(t)
			}
			t.Parallel()
			name := "e2e-rand-" + runtime
			for round := range rounds {
				after := rand.N(longest)
				c, stderr := start(t, "environment "+name, "up", "--name", name, "--runtime", runtime)
				timer := time.AfterFunc(after, func() { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) })
				said := stderr()
				_ = c.Wait()
				timer.Stop()
				what := fmt.Sprintf("round %d, killed after %s", round, after)
				if r := devenv(t, "up", "--name", name, "--runtime", runtime); r.code != 0 {
					t.Fatalf("%s: %s\nthe killed one had said:\n%s", what, r.stderr, said)
				}
				if r := devenv(t, "down", "--name", name); r.code != 0 {
					t.Fatalf("%s: %s", what, r.stderr)
				}
				if runtime == "kind" {
					nothingLeft(t, name)
				} else {
					noProcessLeft(t, name)
				}
			}
		})
	}
}

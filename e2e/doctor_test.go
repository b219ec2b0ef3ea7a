package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/devenv-oidc/devenv/provision/diagnosis"
)

// fault is one that is planted.
type fault struct {
	name  string
	plant func(t *testing.T)
	// hop that doctor must name, and what it must say there.
	hop, says string
	// heal is what undoes the fault; `devenv up` where it is nil.
	heal func(t *testing.T)
	args []string // of doctor, beside the name
}

// diagnosed runs doctor, and wants it to name a hop.
func diagnosed(t *testing.T, name string, f fault) {
	t.Helper()
	r := devenv(t, append([]string{"doctor", "--name", name, "--output", "json"}, f.args...)...)
	var report diagnosis.Report
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		t.Fatalf("%s: %v\n%s%s", f.name, err, r.stdout, r.stderr)
	}
	code := 5
	if f.hop == "" {
		code = 0
	}
	if report.FirstFailure != f.hop || r.code != code {
		t.Errorf("%s: the first failure is %q, exit status %d, want %q\n%s%s", f.name, report.FirstFailure, r.code, f.hop, r.stdout, r.stderr)
		return
	}
	reached := true
	for _, h := range report.Hops {
		if h.Name == f.hop {
			reached = false
			knownCommands(t, h.Remedy)
			if !strings.Contains(h.Detail+h.Log, f.says) || h.Remedy == "" || h.State != diagnosis.Failed {
				t.Errorf("%s: hop %+v, want it to say %q", f.name, h, f.says)
			}
		} else if !reached && h.State != diagnosis.NotReached && h.Name != "dns" && h.Name != "certificates" && h.Name != "workloads" {
			t.Errorf("%s: hop %s after the failure is %s", f.name, h.Name, h.State)
		}
	}
}

var commands = regexp.MustCompile(`\bdevenv ([a-z]+)`)

// knownCommands wants every command that a remedy names to exist.
func knownCommands(t *testing.T, remedy string) {
	t.Helper()
	for _, command := range commands.FindAllStringSubmatch(remedy, -1) {
		if devenv(t, command[1], "--help").code != 0 {
			t.Errorf("the remedy %q names a command that does not exist", remedy)
		}
	}
}

// Faults on plain processes, one after the other; after each, the environment is
// healed by what doctor suggests, and doctor finds nothing.
func TestDoctorNamesTheHop(t *testing.T) {
	t.Parallel()
	const name = "e2e-doctor"
	must(t, "up", "--name", name, "--runtime", "process")
	defer must(t, "down", "--name", name)
	admin := statusOf(t, name).Clusters[0].Kubeconfig
	ctl := func(args ...string) func(*testing.T) {
		return func(t *testing.T) {
			t.Helper()
			if out, err := kubectl(t, admin, args...); err != nil {
				t.Fatalf("%v: %v\n%s", args, err, out)
			}
		}
	}
	signal := func(process string, s syscall.Signal) func(*testing.T) {
		return func(t *testing.T) {
			t.Helper()
			if err := syscall.Kill(pidOf(t, name, process), s); err != nil {
				t.Fatal(err)
			}
		}
	}
	ended := func(process string) func(*testing.T) {
		return func(t *testing.T) { t.Helper(); kill(t, pidOf(t, name, process)) }
	}
	path := func(elements ...string) string { return filepath.Join(append([]string{home, name}, elements...)...) }
	replaced := map[string][]byte{}
	swap := func(file, text string) func(*testing.T) {
		return func(t *testing.T) {
			t.Helper()
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			replaced[file] = before
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	back := func(file string) func(*testing.T) {
		return func(t *testing.T) {
			t.Helper()
			if err := os.WriteFile(file, replaced[file], 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	dexObjects := func(verb, kind string) []string { return []string{"--namespace=dex", verb, kind + ".dex.coreos.com"} }
	diagnosed(t, name, fault{name: "none"})
	for _, f := range []fault{
		{name: "etcd killed", plant: ended("main.etcd"), hop: "processes", says: "main.etcd is ended"},
		{name: "API server killed", plant: ended("main.kube-apiserver"), hop: "processes", says: "main.kube-apiserver is ended"},
		{name: "controller manager killed", plant: ended("main.kube-controller-manager"), hop: "processes", says: "main.kube-controller-manager is ended"},
		{name: "API server stopped", plant: signal("main.kube-apiserver", syscall.SIGSTOP), hop: "api-server", says: "is not ready", heal: signal("main.kube-apiserver", syscall.SIGCONT)},
		{name: "etcd stopped", plant: signal("main.etcd", syscall.SIGSTOP), hop: "api-server", says: "is not ready", heal: signal("main.etcd", syscall.SIGCONT)},
		{name: "administrator's kubeconfig deleted", plant: func(t *testing.T) { noError(t, os.Remove(path("clusters", "main", "admin.kubeconfig"))) }, hop: "api-server", says: "could not read the kubeconfig"},
		{name: "Dex killed", plant: ended("dex"), hop: "issuer", says: "the process dex is ended"},
		{name: "Dex stopped", plant: signal("dex", syscall.SIGSTOP), hop: "tls", says: "speaks no TLS", heal: signal("dex", syscall.SIGCONT)},
		{name: "CA replaced", plant: swap(path("ca.crt"), "nonsense"), hop: "tls", says: "do not belong together", heal: back(path("ca.crt"))},
		{name: "CA's key replaced", plant: func(t *testing.T) {
			other, err := os.ReadFile(path("grpc-ca.key"))
			noError(t, err)
			swap(path("ca.key"), string(other))(t)
		}, hop: "tls", says: "do not belong together", heal: back(path("ca.key"))},
		{name: "another CA", plant: func(t *testing.T) {
			for _, suffix := range []string{".crt", ".key"} {
				other, err := os.ReadFile(path("grpc-ca" + suffix))
				noError(t, err)
				swap(path("ca"+suffix), string(other))(t)
			}
		}, hop: "tls", says: "does not verify with", heal: func(t *testing.T) { back(path("ca.crt"))(t); back(path("ca.key"))(t) }},
		{name: "Dex's users deleted", plant: ctl(append(dexObjects("delete", "passwords"), "--all")...), hop: "token", says: "Invalid username or password"},
		{name: "Dex's clients deleted", plant: ctl(append(dexObjects("delete", "oauth2clients"), "--all")...), hop: "token", says: "invalid_client"},
		{name: "groups changed", plant: func(t *testing.T) {
			list, err := kubectl(t, admin, append(dexObjects("get", "passwords"), "--output=name")...)
			noError(t, err)
			for _, object := range strings.Fields(list) {
				ctl("--namespace=dex", "patch", object, "--type=merge", `--patch={"groups":["strangers"]}`)(t)
			}
		}, hop: "claims", says: "groups are [strangers]"},
		{name: "a user that the profile does not have", plant: func(*testing.T) {}, hop: "token", says: `no user "nobody@example.com"`, args: []string{"--user", "nobody@example.com"}},
		{name: "a binding deleted", plant: ctl("delete", "clusterrolebinding", "platform-admins"), hop: "authorization", says: "ClusterRoleBinding platform-admins to the ClusterRole cluster-admin would allow it, and does not exist"},
		{name: "a binding too many", plant: ctl("create", "clusterrolebinding", "too-many", "--clusterrole=cluster-admin", "--user=guest@example.com"), hop: "authorization", says: `allowed by ClusterRoleBinding "too-many"`,
			args: []string{"--user", "guest@example.com"}, heal: ctl("delete", "clusterrolebinding", "too-many")},
	} {
		t.Run(f.name, func(t *testing.T) {
			f.plant(t)
			diagnosed(t, name, f)
			if f.heal != nil {
				f.heal(t)
			} else {
				must(t, "up", "--name", name)
			}
			diagnosed(t, name, fault{name: "after " + f.name})
		})
	}
	// Dex's keys are lost: the API server rejects tokens of the new one
	ctl(append(dexObjects("delete", "signingkeies"), "--all")...)(t)
	ended("dex")(t)
	must(t, "up", "--name", name, "--timeout", "2m") // the keys are cached for ten minutes
	diagnosed(t, name, fault{name: "after lost keys"})
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Tokens from elsewhere are explained, and never shown.
func TestDoctorExplainsTokens(t *testing.T) {
	needPlain(t)
	good := strings.TrimSpace(must(t, "token", "--name", plain).stdout)
	parts := strings.Split(good, ".")
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	noError(t, err)
	with := func(claim string, value any) string {
		var claims map[string]any
		noError(t, json.Unmarshal(text, &claims))
		claims[claim] = value
		if value == nil {
			delete(claims, claim)
		}
		changed, err := json.Marshal(claims)
		noError(t, err)
		return parts[0] + "." + base64.RawURLEncoding.EncodeToString(changed) + "." + parts[2]
	}
	for name, c := range map[string]struct{ token, hop, says string }{
		"a good one":          {good, "", ""},
		"no token at all":     {"hello", "token", "no JSON Web Token"},
		"another issuer":      {with("iss", "https://elsewhere.example"), "claims", "iss is https://elsewhere.example"},
		"another audience":    {with("aud", "somebody-else"), "claims", "aud is somebody-else"},
		"expired":             {with("exp", time.Now().Add(-time.Hour).Unix()), "claims", "it expired at"},
		"no e-mail":           {with("email", nil), "claims", `no claim "email"`},
		"unverified e-mail":   {with("email_verified", false), "claims", "email_verified is false"},
		"a changed claim":     {with("groups", []string{"platform-admins", "x"}), "claims", "groups are [platform-admins x]"},
		"a changed signature": {with("name", "somebody else"), "authentication", "rejects it with 401"},
	} {
		file := filepath.Join(t.TempDir(), "token")
		noError(t, os.WriteFile(file, []byte(c.token+"\n"), 0o600))
		f := fault{name: name, hop: c.hop, says: c.says, args: []string{"--token-file", file}}
		diagnosed(t, plain, f)
		if r := devenv(t, "doctor", "--name", plain, "--token-file", file); strings.Contains(r.stdout+r.stderr, parts[2]) {
			t.Errorf("%s: the signature is shown:\n%s%s", name, r.stdout, r.stderr)
		}
	}
	// from stdin, and what is no token
	c := exec.Command(binary, "doctor", "--name", plain, "--token-file", "-")
	c.Stdin = strings.NewReader(good)
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("from stdin: %v\n%s", err, out)
	}
	for text, want := range map[string]string{"": "there is no token", strings.Repeat("x", 1<<20+1): "longer than a megabyte"} {
		c := exec.Command(binary, "doctor", "--name", plain, "--token-file", "-")
		c.Stdin = bytes.NewReader([]byte(text))
		if out, err := c.CombinedOutput(); err == nil || c.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), want) {
			t.Errorf("%d characters: exit status %d\n%.300s", len(text), c.ProcessState.ExitCode(), out)
		}
	}
}

// Damage to a node, named by doctor and healed by `up`, within seconds.
func damagedNodeHeals(t *testing.T) {
	admin := statusOf(t, damaged).Clusters[0].Kubeconfig
	ctl := func(args ...string) func(*testing.T) {
		return func(t *testing.T) {
			t.Helper()
			if out, err := kubectl(t, admin, args...); err != nil {
				t.Fatalf("%v: %v\n%s", args, err, out)
			}
		}
	}
	for _, f := range []fault{
		{name: "Dex scaled to 0", plant: ctl("--namespace=dex", "scale", "deployment", "dex", "--replicas=0"), hop: "issuer", says: "scaled to 0"},
		{name: "node paused", plant: func(t *testing.T) { docker(t, "pause", node(damaged)) }, hop: "node", says: "paused"},
		{name: "Dex's namespace deleted", plant: ctl("delete", "namespace", "dex"), hop: "issuer", says: "there is no Deployment dex/dex"},
		{name: "the issuer's Service deleted", plant: ctl("--namespace=dex", "delete", "service", "dex-issuer"), hop: "issuer", says: "could not read the issuer's Service"},
		{name: "cert-manager scaled to 0", plant: ctl("--namespace=cert-manager", "scale", "deployment", "--all", "--replicas=0"), hop: "certificates", says: "does not run"},
		{name: "Corefile in another style, without the rule", plant: func(t *testing.T) {
			text, err := kubectl(t, admin, "--namespace=kube-system", "get", "configmap", "coredns", "--output=jsonpath={.data.Corefile}")
			noError(t, err)
			kept := ".:53 {   # by hand\n"
			for line := range strings.Lines(text) {
				if !strings.Contains(line, "rewrite") && !strings.HasPrefix(line, ".") {
					kept += line
				}
			}
			patch, err := json.Marshal(map[string]any{"data": map[string]any{"Corefile": kept}})
			noError(t, err)
			ctl("--namespace=kube-system", "patch", "configmap", "coredns", "--patch="+string(patch))(t)
		}, hop: "dns", says: "no rule for"},
	} {
		f.plant(t)
		diagnosed(t, damaged, f)
		began := time.Now()
		must(t, "up", "--name", damaged, "--timeout", "2m")
		t.Logf("%s: healed in %.0f s", f.name, time.Since(began).Seconds())
		diagnosed(t, damaged, fault{name: "after " + f.name})
	}
	// flags that somebody edited cannot be put back by up, which says what helps
	edit := func(from, to string) {
		t.Helper()
		docker(t, "exec", node(damaged), "sed", "-i", fmt.Sprintf("s/oidc-client-id=%s/oidc-client-id=%s/", from, to), "/etc/kubernetes/manifests/kube-apiserver.yaml")
		docker(t, "exec", node(damaged), "pkill", "-9", "-x", "kube-apiserver") // asked to end, it waits a minute for who watches
		eventually(t, "the API server to run with oidc-client-id="+to, 2*time.Minute, func() error {
			if _, err := kubectl(t, admin, "get", "--raw=/readyz"); err != nil {
				return err
			}
			r := devenv(t, "doctor", "--name", damaged, "--output", "json")
			want := `"firstFailure": ""`
			if to != "kubernetes" {
				want = `"firstFailure": "api-server-flags"`
			}
			if !strings.Contains(r.stdout, want) {
				return fmt.Errorf("doctor says %s", r.stdout)
			}
			return nil
		})
	}
	edit("kubernetes", "other")
	diagnosed(t, damaged, fault{name: "client id edited", hop: "api-server-flags", says: "--oidc-client-id=other"})
	devenv(t, "up", "--name", damaged).wants(t, 4, "the API server runs without --oidc-client-id=kubernetes",
		"hint: put them back in /etc/kubernetes/manifests/kube-apiserver.yaml on the node", "devenv up --recreate --name "+damaged)
	edit("other", "kubernetes")
	must(t, "up", "--name", damaged)
}

// Any cluster, by a kubeconfig: here those that devenv wrote, without asking its
// state.
func TestDoctorOnAnyCluster(t *testing.T) {
	needShared(t)
	folder := t.TempDir()
	write := func(args ...string) string {
		file := filepath.Join(folder, fmt.Sprintf("%d", len(filesIn(folder))))
		noError(t, os.WriteFile(file, []byte(must(t, append(args, "--name", shared)...).stdout), 0o600))
		return file
	}
	admin, user, token := write("kubeconfig", "--flavor", "admin"), write("kubeconfig", "--flavor", "exec"), write("token")
	other := write("token", "--client", "demo-app")
	stateless := []string{"DEVENV_HOME=" + filepath.Join(folder, "none")}
	for name, c := range map[string]struct {
		args []string
		code int
		says []string
	}{
		"an administrator with a token": {[]string{"--kubeconfig", admin, "--token-file", token}, 0, []string{"✓ authentication", "user admin@example.com", "✓ claims"}},
		"an administrator alone":        {[]string{"--kubeconfig", admin}, 0, []string{"it trusts https://dex.e2e.localhost:", "! token", "sends no token", "user kubernetes-admin"}},
		"a user with a plug-in":         {[]string{"--kubeconfig", user}, 0, []string{"✓ token             one is sent", "✓ keys", "user admin@example.com"}},
		"a token for another client":    {[]string{"--kubeconfig", admin, "--token-file", other}, 5, []string{`✗ claims            aud is demo-app, and the API server wants "kubernetes"`}},
		"no such context":               {[]string{"--kubeconfig", admin, "--context", "none"}, 2, []string{`context "none" does not exist`, "hint: see its contexts"}},
		"no such file":                  {[]string{"--kubeconfig", filepath.Join(folder, "none")}, 2, []string{"error: could not read the kubeconfig"}},
	} {
		t.Run(name, func(t *testing.T) {
			runWith(t, stateless, append([]string{"doctor"}, c.args...)...).wants(t, c.code, c.says...)
		})
	}
}

func filesIn(folder string) []os.DirEntry {
	entries, _ := os.ReadDir(folder)
	return entries
}

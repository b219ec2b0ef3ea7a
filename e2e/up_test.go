package e2e

import (
	"crypto/tls"
	"encoding/json"
	"encoding/xml"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/devenv-oidc/devenv/provision/check"
	"github.com/devenv-oidc/devenv/provision/kube"
)

func TestSecondUpChangesNothing(t *testing.T) { onBoth(t, testSecondUpChangesNothing) }

func testSecondUpChangesNothing(t *testing.T, name string) {
	r := must(t, "up", "--name", name)
	for line := range strings.Lines(r.stderr) {
		if strings.Contains(line, "✓") {
			t.Errorf("a step changed something: %s", line)
		}
	}
	if !strings.Contains(r.stderr, "unchanged") {
		t.Errorf("no step says unchanged:\n%s", r.stderr)
	}
	if !strings.Contains(r.stdout, "is ready and proven") || strings.Contains(r.stdout, "unchanged") {
		t.Errorf("the result is not alone on stdout:\n%s", r.stdout)
	}
}

func TestUpSpeaksJSON(t *testing.T) { onBoth(t, testUpSpeaksJSON) }

func testUpSpeaksJSON(t *testing.T, name string) {
	r := must(t, "up", "--name", name, "--output", "json")
	decoder := json.NewDecoder(strings.NewReader(r.stdout))
	states := map[string]bool{}
	last := map[string]any{}
	for decoder.More() {
		last = map[string]any{}
		if err := decoder.Decode(&last); err != nil {
			t.Fatalf("stdout is not JSON: %v\n%s", err, r.stdout)
		}
		if s, ok := last["state"].(string); ok {
			states[s] = true
		}
	}
	if !states["started"] || !states["unchanged"] || last["ready"] != true {
		t.Errorf("states %v, last %v", states, last)
	}
	if r.stderr != "" {
		t.Errorf("stderr: %s", r.stderr)
	}
}

// The proofs that the default profile must have, whatever else it has.
func TestCheckProves(t *testing.T) { onBoth(t, testCheckProves) }

func testCheckProves(t *testing.T, name string) {
	r := must(t, "check", "--name", name, "--output", "json")
	var report check.Report
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		t.Fatal(err)
	}
	proven := map[string]string{}
	for _, result := range report.Results {
		if !result.OK {
			t.Errorf("%s: %s", result.Name, result.Detail)
		}
		proven[result.Name] = result.Detail
	}
	reasons := map[string]string{
		"admin@example.com is admin@example.com in main":         "oidc:platform-admins",
		"viewer@example.com cannot list secrets":                 "",
		"guest@example.com is forbidden with kubectl: list pods": "",
		"kubectl auth whoami says admin@example.com":             "",
		"rejected: no token":                                      "403",
		"rejected: another audience":                              "expected audience",
		"rejected: expired":                                       "token is expired",
		"rejected: tampered":                                      "failed to verify signature",
		"rejected: another issuer":                                "invalid bearer token",
		"rejected: e-mail not verified":                           "email not verified",
	}
	if name == shared { // where there are pods
		reasons["the issuer answers and verifies from a pod"] = "https://dex.e2e.localhost:"
	}
	for proof, reason := range reasons {
		detail, ok := proven[proof]
		if !ok || !strings.Contains(detail, reason) {
			t.Errorf("%q: proven %v, %q does not hold %q", proof, ok, detail, reason)
		}
	}

	var suite struct {
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Cases    []struct{} `xml:"testcase"`
	}
	if err := xml.Unmarshal([]byte(must(t, "check", "--name", name, "--output", "junit").stdout), &suite); err != nil {
		t.Fatal(err)
	}
	if suite.Tests != len(report.Results) || suite.Failures != 0 || len(suite.Cases) != suite.Tests {
		t.Errorf("JUnit says %d tests, %d failures, %d cases; the report has %d", suite.Tests, suite.Failures, len(suite.Cases), len(report.Results))
	}
}

// A check that cannot fail proves nothing: take a right away, and it must say
// which proof failed, with exit code 5.
func TestCheckFails(t *testing.T) {
	needPlain(t)
	admin := statusOf(t, plain).Clusters[0].Kubeconfig
	if _, err := kubectl(t, admin, "delete", "clusterrolebinding", "viewers"); err != nil {
		t.Fatal(err)
	}
	devenv(t, "check", "--name", plain).wants(t, 5, "error: ", "viewer@example.com can list pods: it is forbidden", "hint: ")
	r := must(t, "up", "--name", plain)
	if !strings.Contains(r.stderr, "✓ Namespaces and role bindings") {
		t.Errorf("up did not put the binding back:\n%s", r.stderr)
	}
	must(t, "check", "--name", plain)
}

func TestChangedUsersAndClients(t *testing.T) {
	needPlain(t)
	claims := func() map[string]any {
		c := map[string]any{}
		out := must(t, "token", "--name", plain, "--user", "dev@example.com", "--client", "demo-app", "--output", "claims").stdout
		if err := json.Unmarshal([]byte(out), &c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	credential := func() string {
		return must(t, "token", "--name", plain, "--user", "dev@example.com", "--output", "exec-credential").stdout
	}
	before, kept := claims(), credential()
	if credential() != kept {
		t.Error("the token was not kept")
	}
	r := must(t, "up", "--name", plain,
		"--set", "spec.dex.clients[1].secret=another-secret",
		"--set", "spec.dex.users[1].groups=[developers, night-shift]",
		"--set", "spec.dex.users[1].password=Another-Password-1")
	if !strings.Contains(r.stderr, "✓ Seed clients and users") {
		t.Errorf("up did not say that it seeded:\n%s", r.stderr)
	}
	after := claims() // with the new secret and the new password
	if groups, _ := json.Marshal(after["groups"]); string(groups) != `["developers","night-shift"]` {
		t.Errorf("groups are %s", groups)
	}
	if credential() == kept {
		t.Error("a token with the old groups is still given out")
	}
	if before["sub"] != after["sub"] {
		t.Errorf("the subject changed from %v to %v", before["sub"], after["sub"])
	}
	must(t, "up", "--name", plain)
	if groups, _ := json.Marshal(claims()["groups"]); string(groups) != `["developers"]` {
		t.Errorf("groups are %s again", groups)
	}
}

func TestFixedFieldsNeedRecreate(t *testing.T) {
	needShared(t)
	before := docker(t, "inspect", "--format={{.Id}}", node(shared))
	devenv(t, "up", "--name", shared, "--set", "spec.clusters[0].trust.flags.groupsPrefix=other:").
		wants(t, 2, "spec.clusters[0].trust.flags.groupsPrefix: oidc: → other:", "--recreate")
	if after := docker(t, "inspect", "--format={{.Id}}", node(shared)); after != before {
		t.Error("the cluster was replaced without being asked")
	}
	must(t, "check", "--name", shared)
}

// ownersAlone fails if a file of an environment can be read by others.
func ownersAlone(t *testing.T, name string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(home, name), func(path string, d os.DirEntry, err error) error {
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

func TestSecretsStayIn(t *testing.T) {
	needShared(t)
	ownersAlone(t, shared)
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

// A pod that cannot start ends the wait with its own event, and putting it
// right needs nothing but another up.
func TestFailureQuotesThePod(t *testing.T) {
	needShared(t)
	devenv(t, "up", "--name", beside, "--timeout", "15s", "--set", "spec.dex.values.image.tag=no-such-tag").
		wants(t, 4, "the limit of 15s was reached while waiting for Deployment dex/dex", "no-such-tag", "event: Failed", "hint: continue where it stopped: devenv up --name "+beside)
	if s := statusOf(t, beside); s.Ready {
		t.Error("status says that it is ready")
	}
	must(t, "up", "--name", beside)
	must(t, "check", "--name", beside)
}

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
	if err == nil { // in TLS 1.3 the refusal comes with the first answer
		defer conn.Close()
		_, err = conn.Read(make([]byte, 1))
	}
	if err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("without a certificate: %v", err)
	}
}

func TestLogs(t *testing.T) {
	needShared(t)
	folder := filepath.Join(t.TempDir(), "logs")
	r := must(t, "logs", "--name", shared, folder)
	if strings.TrimSpace(r.stdout) != folder {
		t.Errorf("stdout: %s", r.stdout)
	}
	found, err := filepath.Glob(filepath.Join(folder, node(shared), "pods", "kube-system_kube-apiserver-*", "kube-apiserver", "*.log"))
	if err != nil || len(found) == 0 {
		t.Errorf("no log of the API server: %v", err)
	}
}

func TestListShowsBoth(t *testing.T) {
	needShared(t)
	var list []struct {
		Name  string
		Ready bool
	}
	if err := json.Unmarshal([]byte(must(t, "list", "--output", "json").stdout), &list); err != nil {
		t.Fatal(err)
	}
	ready := map[string]bool{}
	for _, l := range list {
		ready[l.Name] = l.Ready
	}
	if !ready[shared] || !ready[beside] {
		t.Errorf("%v", list)
	}
}

// On a host without kubectl the check runs the node's own.
func TestCheckWithoutKubectlOnTheHost(t *testing.T) {
	needShared(t)
	engine, err := exec.LookPath("docker")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(engine, filepath.Join(bin, "docker")); err != nil {
		t.Fatal(err)
	}
	runWith(t, []string{"PATH=" + bin}, "check", "--name", shared).
		wants(t, 0, "✓ kubectl auth whoami says admin@example.com", "✓ guest@example.com is forbidden with kubectl: list pods", ", 0 failed")
}

// The token of a user whose e-mail is not verified, as Dex itself issues it, is
// refused for that.
func TestUnverifiedUser(t *testing.T) {
	needPlain(t)
	must(t, "up", "--name", plain, "--set", "spec.dex.users[4]={email: new@example.com, emailVerified: false}")
	claims := must(t, "token", "--name", plain, "--user", "new@example.com", "--output", "claims").stdout
	if !strings.Contains(claims, `"email_verified": false`) {
		t.Errorf("claims: %s", claims)
	}
	devenv(t, "check", "--name", plain).wants(t, 0, "✓ rejected: e-mail of new@example.com not verified  (401, oidc: email not verified)")
}

func TestRecreate(t *testing.T) {
	needShared(t)
	before := docker(t, "inspect", "--format={{.Id}}", node(beside))
	must(t, "up", "--name", beside, "--recreate", "--set", "spec.clusters[0].trust.flags.usernamePrefix=-")
	if docker(t, "inspect", "--format={{.Id}}", node(beside)) == before {
		t.Error("the cluster is the old one")
	}
	must(t, "check", "--name", beside)
}

package e2e

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/devenv-oidc/devenv/provision/check"
)

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
		"rejected: no token":                                     "403",
		"rejected: another audience":                             "expected audience",
		"rejected: expired":                                      "token is expired",
		"rejected: tampered":                                     "failed to verify signature",
		"rejected: another issuer":                               "invalid bearer token",
		"rejected: e-mail not verified":                          "email not verified",
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
	if !strings.Contains(r.stderr, "✓ Create namespaces and role bindings") {
		t.Errorf("up did not put the binding back:\n%s", r.stderr)
	}
	must(t, "check", "--name", plain)
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
// rejected for that.
func TestUnverifiedUser(t *testing.T) {
	needPlain(t)
	must(t, "up", "--name", plain, "--set", "spec.dex.users[4]={email: new@example.com, emailVerified: false}")
	claims := must(t, "token", "--name", plain, "--user", "new@example.com", "--output", "claims").stdout
	if !strings.Contains(claims, `"email_verified": false`) {
		t.Errorf("claims: %s", claims)
	}
	devenv(t, "check", "--name", plain).wants(t, 0, "✓ rejected: e-mail of new@example.com not verified  (401, oidc: email not verified)")
}

// Users whom an API server cannot tell apart but by their names are proven by one
// of them; --all-users logs everybody in, and so finds who is wrong alone.
func TestUsersByClass(t *testing.T) {
	needPlain(t)
	up := []string{"up", "--name", plain,
		"--set", "spec.dex.users[4]={email: first@example.com, groups: [ops]}",
		"--set", "spec.dex.users[5]={email: second@example.com, groups: [ops]}"}
	must(t, up...)
	defer must(t, "up", "--name", plain)
	devenv(t, "check", "--name", plain).wants(t, 0, "✓ first@example.com is first@example.com in main", "✓ another user is proven in main by one of their class  (second@example.com; to log in all of them: devenv check --all-users)")
	devenv(t, "check", "--name", plain, "--all-users").wants(t, 0, "✓ second@example.com is second@example.com in main", ", 0 failed")
	admin := statusOf(t, plain).Clusters[0].Kubeconfig
	second := strings.Fields(mustKubectl(t, admin, "--namespace", "dex", "get", "passwords.dex.coreos.com", "--output", `jsonpath={range .items[?(@.email=="second@example.com")]}{.metadata.name}{end}`))[0]
	mustKubectl(t, admin, "--namespace", "dex", "patch", "passwords.dex.coreos.com", second, "--type", "merge", "--patch", `{"groups":["intruders"]}`)
	devenv(t, "check", "--name", plain, "--all-users").wants(t, 5, "second@example.com is second@example.com in main", "oidc:intruders")
	devenv(t, "check", "--name", plain).wants(t, 0, ", 0 failed")
	must(t, up...).wants(t, 0, "✓ Seed clients and users")
	devenv(t, "check", "--name", plain, "--all-users").wants(t, 0, ", 0 failed")
}

package e2e

import (
	"strings"
	"testing"

	"github.com/devenv-oidc/devenv/provision"
)

// What somebody changed by hand is named by status and plan before up mends it.
func TestDriftIsNamed(t *testing.T) { onBoth(t, testDriftIsNamed) }

func testDriftIsNamed(t *testing.T, name string) {
	before := statusOf(t, name)
	if before.State != "running" || len(before.Differences) > 0 {
		t.Fatalf("before: %s, %v", before.State, before.Differences)
	}
	admin := before.Clusters[0].Kubeconfig
	dex := strings.Fields(mustKubectl(t, admin, "--namespace", "dex", "get", "passwords.dex.coreos.com", "--output", "jsonpath={range .items[?(@.email==\"guest@example.com\")]}{.metadata.name}{end}"))[0]
	mustKubectl(t, admin, "--namespace", "demo", "delete", "rolebinding", "developers")
	mustKubectl(t, admin, "--namespace", "dex", "patch", "passwords.dex.coreos.com", dex, "--type", "merge", "--patch", `{"groups":["intruders"]}`)
	mustKubectl(t, admin, "patch", "clusterrolebinding", "platform-admins", "--type", "json", "--patch", `[{"op":"replace","path":"/subjects/0/name","value":"oidc:nobody"}]`)
	defer must(t, "up", "--name", name)

	want := []provision.Difference{
		{Object: "ClusterRoleBinding platform-admins", Field: "subjects[0].name", Have: "oidc:nobody", Want: "oidc:platform-admins"},
		{Object: "RoleBinding demo/developers", Have: "missing", Want: "present"},
		{Object: "user guest@example.com", Field: "groups", Have: "intruders", Want: ""},
	}
	s := statusOf(t, name)
	if s.State != "degraded" {
		t.Errorf("state %s", s.State)
	}
	for _, w := range want {
		found := false
		for _, d := range s.Differences {
			found = found || d == w
		}
		if !found {
			t.Errorf("status does not name %+v: %+v", w, s.Differences)
		}
	}
	if len(s.Differences) != len(want) {
		t.Errorf("%d differences: %+v", len(s.Differences), s.Differences)
	}
	devenv(t, "plan", "--name", name, "--set", "spec.dex.users[3].groups=[developers]").wants(t, 0,
		"DIFFERENCE IN "+name, "RoleBinding demo/developers", "oidc:nobody", "intruders")
	must(t, "up", "--name", name)
	if after := statusOf(t, name); after.State != "running" || len(after.Differences) > 0 {
		t.Errorf("after: %s, %v", after.State, after.Differences)
	}
	devenv(t, "plan", "--name", name).wants(t, 0, "is as the profile wants it")
}

// A rotation of Dex's key, and of its certificate, is proven by the drill itself:
// old and new tokens are accepted.
func TestRotate(t *testing.T) {
	needPlain(t)
	devenv(t, "rotate", "keys", "--name", plain).wants(t, 0, "signs nothing more and is still published", "every cluster accepts tokens of the new key")
	rotatesCertificates(t, plain, "localhost")
	devenv(t, "rotate", "certs", "--name", plain).wants(t, 2, `there is no connection "certs"`, "devenv rotate certificates --name "+plain)
	must(t, "check", "--name", plain)
	for _, p := range statusOf(t, plain).Processes {
		if p.State != "running" {
			t.Errorf("%s is %s", p.Name, p.State)
		}
	}
}

func mustKubectl(t testing.TB, kubeconfig string, args ...string) string {
	t.Helper()
	out, err := kubectl(t, kubeconfig, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

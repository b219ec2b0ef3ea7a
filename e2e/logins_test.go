package e2e

import (
	"os"
	"strings"
	"testing"
)

// ownKind is a kind and an object of it, which names no namespace.
const ownKind = `    - apiVersion: apiextensions.k8s.io/v1
      kind: CustomResourceDefinition
      metadata: {name: things.example.com}
      spec: {group: example.com, scope: Namespaced, names: {kind: Thing, plural: things}, versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]}
    - {apiVersion: example.com/v1, kind: Thing, metadata: {name: thing}}
`

// What devenv made and a profile no longer has is deleted, unless --no-prune
// says so; what others made stays.
func TestPrune(t *testing.T) {
	t.Parallel()
	const name = "e2e-prune"
	profile := must(t, "profiles", "show", "default").stdout
	more := strings.Replace(profile, "    users:\n", "    users:\n    - email: extra@example.com\n      groups: [developers]\n", 1)
	more = strings.Replace(more, "    clients:\n", "    clients:\n    - id: extra\n", 1)
	more = strings.Replace(more, "  dex:\n", "    objects:\n    - {apiVersion: v1, kind: ConfigMap, metadata: {name: extra}}\n    - {apiVersion: v1, kind: ConfigMap, metadata: {name: mine}}\n"+ownKind+"  dex:\n", 1)
	if strings.Count(more, "extra") != 3 {
		t.Fatalf("the default profile looks otherwise:\n%s", more)
	}
	up := func(args ...string) result {
		return must(t, append([]string{"up", "--name", name, "--runtime", "process"}, args...)...)
	}
	up("--file", write(t, "more.yaml", more))
	if r := up("--file", write(t, "more.yaml", more)); strings.Contains(r.stderr, "✓") {
		t.Errorf("a second up changes something:\n%s", r.stderr)
	}
	defer must(t, "down", "--name", name)
	admin := statusOf(t, name).Clusters[0].Kubeconfig
	ask := func(args ...string) (string, error) { return kubectl(t, admin, args...) }
	mustKubectl(t, admin, "get", "things.example.com", "thing") // without a namespace, of a kind that came with it
	// somebody makes it their own
	if _, err := ask("label", "configmap", "mine", "devenv.dev/part-"); err != nil {
		t.Fatal(err)
	}

	up("--no-prune")
	must(t, "token", "--name", name, "--user", "extra@example.com", "--client", "extra")
	if _, err := ask("get", "configmap", "extra"); err != nil {
		t.Errorf("--no-prune did not keep the object: %v", err)
	}
	r := up()
	if !strings.Contains(r.stderr, "✓ Delete what the profile no longer has") {
		t.Errorf("it does not say that it deleted something:\n%s", r.stderr)
	}
	devenv(t, "token", "--name", name, "--user", "extra@example.com").wants(t, 2, "there is no user")
	for kind, gone := range map[string]string{"passwords.dex.coreos.com": "extra@example.com", "oauth2clients.dex.coreos.com": "id: extra\n"} {
		if out, err := ask("--namespace", "dex", "get", kind, "--output", "yaml"); err != nil || strings.Contains(out, gone) {
			t.Errorf("%s: %v\n%s", kind, err, out)
		}
	}
	if _, err := ask("get", "configmap", "extra"); err == nil {
		t.Error("the object is still there")
	}
	if _, err := ask("get", "configmap", "mine"); err != nil {
		t.Errorf("somebody else's object was deleted: %v", err)
	}
	if r := up(); strings.Contains(r.stderr, "✓") {
		t.Errorf("a second up changes something:\n%s", r.stderr)
	}
}

// Users and clients that are changed while the environment runs can be used at
// once; the next up goes back to the profile.
func TestLiveLogins(t *testing.T) { onBoth(t, testLiveLogins) }

func testLiveLogins(t *testing.T, name string) {
	in := func(args ...string) []string { return append(args, "--name", name) }
	defer must(t, in("up")...)

	password := strings.TrimSpace(must(t, in("users", "add", "live@example.com", "--group", "developers", "--show-password")...).stdout)
	must(t, in("clients", "add", "live", "--trusted-peer", "demo-app")...)
	claims := must(t, in("token", "--user", "live@example.com", "--client", "live", "--output", "claims")...).stdout
	if !strings.Contains(claims, `"developers"`) || !strings.Contains(claims, `"live@example.com"`) {
		t.Errorf("claims: %s", claims)
	}
	must(t, in("users", "passwd", "live@example.com")...)
	runWith(t, []string{"DEVENV_PASSWORD=" + password}, in("token", "--user", "live@example.com")...).wants(t, 5, "Invalid username or password")
	must(t, in("token", "--user", "live@example.com")...)
	must(t, in("clients", "secret", "live")...)
	must(t, in("token", "--user", "live@example.com", "--client", "live")...)
	if out := must(t, in("users", "list")...).stdout; strings.Contains(out, password) || !strings.Contains(out, "live@example.com") {
		t.Errorf("users list:\n%s", out)
	}
	must(t, in("users", "remove", "guest@example.com")...)
	must(t, in("check")...)

	devenv(t, in("users", "add", "live@example.com")...).wants(t, 2, `already a user "live@example.com"`)
	devenv(t, in("users", "add", "nobody")...).wants(t, 2, "does not match")
	devenv(t, in("users", "passwd", "lives@example.com")...).wants(t, 2, "did you mean live@example.com?")
	devenv(t, in("clients", "secret", "kubernetes")...).wants(t, 2, "is public")

	must(t, in("up", "--no-prune")...)
	must(t, in("token", "--user", "live@example.com", "--client", "live")...)
	must(t, in("up")...)
	devenv(t, in("token", "--user", "live@example.com")...).wants(t, 2, "there is no user")
	must(t, in("token", "--user", "guest@example.com")...)
	if text, err := os.ReadFile(home + "/" + name + "/environment.json"); err != nil || strings.Contains(string(text), "live@example.com") {
		t.Errorf("the record: %v", err)
	}
}

// A change does not wait for a Dex that does not run, and is not half done.
func TestLiveLoginsWithoutDex(t *testing.T) {
	needPlain(t)
	defer must(t, "up", "--name", plain)
	for _, p := range statusOf(t, plain).Processes {
		if p.Name == "dex" {
			kill(t, p.PID)
		}
	}
	for _, command := range [][]string{{"users", "add", "late@example.com"}, {"rotate", "keys"}} {
		devenv(t, append(command, "--name", plain)...).wants(t, 4, "the issuer does not answer", "hint: see why: devenv doctor --name "+plain)
	}
	if out := must(t, "users", "list", "--name", plain).stdout; strings.Contains(out, "late@example.com") {
		t.Errorf("users list:\n%s", out)
	}
}

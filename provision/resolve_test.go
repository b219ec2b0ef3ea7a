package provision

import (
	"net"
	"strings"
	"testing"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/state"
)

func load(t *testing.T, set ...string) *profiles.Environment {
	t.Helper()
	p, err := profiles.Load("default", set...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestResolveKeepsWhatItChose(t *testing.T) {
	first, err := resolve(state.Home(t.TempDir()), "a", profiles.RuntimeKind, load(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := resolve(state.Home(t.TempDir()), "a", profiles.RuntimeKind, load(t), first)
	if err != nil {
		t.Fatal(err)
	}
	if first.IssuerPort != again.IssuerPort || first.APIPorts["main"] != again.APIPorts["main"] {
		t.Error("ports were chosen anew")
	}
	for i, u := range first.Profile.Spec.Dex.Users {
		if len(u.Password) < 20 || u.Password != again.Profile.Spec.Dex.Users[i].Password {
			t.Errorf("%s: password %q, then %q", u.Email, u.Password, again.Profile.Spec.Dex.Users[i].Password)
		}
	}
	if secret := first.Profile.Client("demo-app").Secret; len(secret) < 20 || secret != again.Profile.Client("demo-app").Secret {
		t.Errorf("the secret is %q", secret)
	}
	if first.Profile.Client("kubernetes").Secret != "" {
		t.Error("a public client has a secret")
	}
	other, err := resolve(state.Home(t.TempDir()), "b", profiles.RuntimeKind, load(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if other.Profile.Spec.Dex.Users[0].Password == first.Profile.Spec.Dex.Users[0].Password {
		t.Error("two environments have the same password")
	}
	fixed, err := resolve(state.Home(t.TempDir()), "a", profiles.RuntimeKind, load(t, "spec.dex.users[0].password=Fixed-1"), first)
	if err != nil {
		t.Fatal(err)
	}
	if fixed.Profile.Spec.Dex.Users[0].Password != "Fixed-1" {
		t.Error("the profile's password was not taken")
	}
	if p := first.IssuerPort; p < firstNodePort || p > lastNodePort {
		t.Errorf("the issuer's port is %d", p)
	}
}

func TestFixedDifferences(t *testing.T) {
	old, err := resolve(state.Home(t.TempDir()), "a", profiles.RuntimeKind, load(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	for set, want := range map[string]string{
		"spec.dex.users[0].groups=[x]":                    "",
		"spec.clusters[0].access.namespaces=[demo, more]": "",
		"spec.clusters[0].kubernetesVersion=v1.36.1":      "spec.clusters[0].kubernetesVersion: v1.37.0 → v1.36.1",
		"spec.clusters[0].trust.flags.groupsPrefix=x:":    "spec.clusters[0].trust.flags.groupsPrefix: oidc: → x:",
		"spec.clusters[0].trust.flags.usernameClaim=sub":  "spec.clusters[0].trust.flags.usernameClaim: email → sub",
		"spec.clusters[0].trust.flags.usernamePrefix=u:":  `spec.clusters[0].trust.flags.usernamePrefix: "" → u:`,
		"spec.clusters[0].trust.flags.clientID=demo-app":  "spec.clusters[0].trust.flags.clientID: kubernetes → demo-app",
		"spec.clusters[0].trust.flags.groupsClaim=roles":  "spec.clusters[0].trust.flags.groupsClaim: groups → roles",
	} {
		wanted, err := resolve(state.Home(t.TempDir()), "a", profiles.RuntimeKind, load(t, set), old)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(fixedDifferences(old, wanted), "; "); got != want {
			t.Errorf("%s: %q, want %q", set, got, want)
		}
	}
}

func TestPortFree(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if portFree(port) {
		t.Error("a port that is listened on is said to be free")
	}
	l.Close()
	if !portFree(port) {
		t.Error("a free port is said to be taken")
	}
}

func TestNames(t *testing.T) {
	for _, good := range []string{"a", "dev", "e2e-2", strings.Repeat("a", 20)} {
		if err := checkName(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "A", "1a", "a-", "a_b", "../x", strings.Repeat("a", 21)} {
		if checkName(bad) == nil {
			t.Errorf("%q is taken for a name", bad)
		}
	}
}

func TestTamperChangesTheSignatureAlone(t *testing.T) {
	for _, token := range []string{"h.p.Abc", "h.p.zbc"} {
		got := tamper(token)
		if got == token || !strings.HasPrefix(got, "h.p.") || len(got) != len(token) {
			t.Errorf("%s became %s", token, got)
		}
	}
}

func TestExecAPIVersion(t *testing.T) {
	for text, want := range map[string]string{
		`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1"}`: "client.authentication.k8s.io/v1beta1",
		`{"kind":"Pod","apiVersion":"v1"}`:                                              "",
		`nonsense`:                                                                      "",
	} {
		if got := ExecAPIVersion(text); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

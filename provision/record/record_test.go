package record

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/state"
	"github.com/devenv-oidc/devenv/provision/trust"
)

// kind is as kindruntime.Traits, as far as records are concerned.
var kind = Runtime{Name: profiles.RuntimeKind, Pods: true}

func load(t *testing.T, set ...string) *profiles.Environment {
	t.Helper()
	p, err := profiles.Load("default", set...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestResolveKeepsWhatItChose(t *testing.T) {
	first, err := Resolve(state.Home(t.TempDir()), "a", kind, load(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Resolve(state.Home(t.TempDir()), "a", kind, load(t), first)
	if err != nil {
		t.Fatal(err)
	}
	if first.IssuerPort != again.IssuerPort || first.APIPorts["main"] != again.APIPorts["main"] {
		t.Error("ports were chosen again")
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
	other, err := Resolve(state.Home(t.TempDir()), "b", kind, load(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if other.Profile.Spec.Dex.Users[0].Password == first.Profile.Spec.Dex.Users[0].Password {
		t.Error("two environments have the same password")
	}
	fixed, err := Resolve(state.Home(t.TempDir()), "a", kind, load(t, "spec.dex.users[0].password=Fixed-1"), first)
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
	old, err := Resolve(state.Home(t.TempDir()), "a", kind, load(t), nil)
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
		wanted, err := Resolve(state.Home(t.TempDir()), "a", kind, load(t, set), old)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(FixedDifferences(old, wanted, kind), "; "); got != want {
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
	if PortFree(port) {
		t.Error("a port that is listened on is said to be free")
	}
	l.Close()
	if !PortFree(port) {
		t.Error("a free port is said to be taken")
	}
}

func TestRecord(t *testing.T) {
	dir := state.Home(t.TempDir()).Dir("dev")
	if _, err := Load(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	record := &Record{Name: "dev", IssuerPort: 30001}
	record.Profile.Spec.Clusters = []profiles.Cluster{{Name: "main"}}
	if err := record.Save(dir); err != nil {
		t.Fatal(err)
	}
	r, err := Load(dir)
	if err != nil || r.IssuerPort != 30001 {
		t.Errorf("%+v, %v", r, err)
	}
	// whatever is in the file, it never leads to another folder
	for _, text := range []string{"{", "{}", "null", `{"name": "other", "profile": {"spec": {"clusters": [{"name": "main"}]}}}`, `{"name": "dev"}`} {
		if _, err := dir.Write([]byte(text), file); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestPortsOfOthersAreTheirs(t *testing.T) {
	home := state.Home(t.TempDir())
	record, err := Resolve(home, "dev", kind, load(t), nil)
	if err == nil {
		err = record.Save(home.Dir("dev"))
	}
	if err != nil {
		t.Fatal(err)
	}
	taken, err := portsOfOthers(home, "other")
	if err != nil || !taken[record.IssuerPort] || !taken[record.APIPorts["main"]] {
		t.Errorf("%v, %v", taken, err)
	}
	if own, err := portsOfOthers(home, "dev"); err != nil || len(own) != 0 {
		t.Errorf("its own ports are said to be others': %v, %v", own, err)
	}
	if _, err := freePort(record.IssuerPort, record.IssuerPort, taken); err == nil {
		t.Error("another's port was taken")
	}
}

func TestVersions(t *testing.T) {
	runtime := kind
	runtime.Has = func(pins profiles.Pins, version string) bool { return version != "v1.99.0" }
	for version, want := range map[string]string{
		"v1.24.9": "too old", "v1.25.0": "", "v1.37.0": "", "v1.99.0": "no node image is pinned", "latest": "latest",
	} {
		profile := load(t)
		profile.Spec.Clusters[0].KubernetesVersion = version
		err := CheckVersions(profile, profiles.Pins{}, runtime)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", version, err)
		}
	}
}

func TestExternalIssuerSaysTheSameInEveryFolder(t *testing.T) {
	folder := t.TempDir()
	t.Chdir(folder)
	if err := os.WriteFile("ca.crt", []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	x := &profiles.Issuer{URL: "https://id.example.com", CAFile: "ca.crt", Users: []profiles.User{
		{Token: &profiles.TokenSource{File: "a.jwt"}}, {Token: &profiles.TokenSource{Command: []string{"./print", "it"}}}, {Token: &profiles.TokenSource{Command: []string{"print"}}}, {Password: "x"},
	}}
	if _, err := SelfContained(x); err == nil || !strings.Contains(err.Error(), "it holds no certificate in PEM") {
		t.Errorf("%v", err)
	}
	ca, err := trust.NewCA("somebody", trust.Anything)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("ca.crt", ca.CertPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := SelfContained(x)
	if err != nil {
		t.Fatal(err)
	}
	if got.CA != string(ca.CertPEM) || got.CAFile != "" {
		t.Errorf("CA %q, file %q", got.CA, got.CAFile)
	}
	if file := got.Users[0].Token.File; file != filepath.Join(folder, "a.jwt") {
		t.Errorf("the file is %s", file)
	}
	if command := got.Users[1].Token.Command[0]; command != filepath.Join(folder, "print") || x.Users[1].Token.Command[0] != "./print" {
		t.Errorf("the command is %s", command)
	}
	if command := got.Users[2].Token.Command[0]; command != "print" {
		t.Errorf("what is on PATH is %s", command)
	}
}

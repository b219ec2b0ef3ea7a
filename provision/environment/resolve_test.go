package environment

import (
	"strings"
	"testing"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/state"
)

func TestPlaceholdersInTrust(t *testing.T) {
	profile, err := profiles.Load("default", "spec.clusters[0].trust.flags.groupsPrefix=${environment}:")
	if err != nil {
		t.Fatal(err)
	}
	home := state.Home(t.TempDir())
	runtime := record.Runtime{Name: profiles.RuntimeProcess, Host: func(string, string) string { return "localhost" }}
	r, err := Resolve(home, "blue", runtime, profile, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.First().Trust.Flags.GroupsPrefix; got != "blue:" {
		t.Errorf("the prefix is %q", got)
	}
	if said := r.Trust["main"].Flags.GroupsPrefix; said != "${environment}:" || profile.Spec.Clusters[0].Trust.Flags.GroupsPrefix != said {
		t.Errorf("the profile said %q", said)
	}

	// the CA is not there yet when the record is made
	profile, err = profiles.Load("default", `spec.clusters[0].trust={configuration: {jwt: [
		{issuer: {audiences: [kubernetes]}, claimMappings: {username: {claim: email, prefix: "${issuer.host}:"}}},
		{issuer: {url: "https://other.example.com", certificateAuthority: "${ca}", audiences: [x]}, claimMappings: {username: {claim: sub, prefix: "x:"}}}]}}`)
	if err != nil {
		t.Fatal(err)
	}
	if r, err = Resolve(home, "blue", runtime, profile, nil); err != nil {
		t.Fatal(err)
	}
	e := New(home, r, runtime)
	if _, err := e.TrustConfiguration(r.First()); err == nil {
		t.Error("there is no CA, and no error")
	}
	if _, err := e.Dir.Write([]byte("PEM"), "ca.crt"); err != nil {
		t.Fatal(err)
	}
	got, err := e.TrustConfiguration(r.First())
	if err != nil || got.JWT[1].Issuer.CertificateAuthority != "PEM" || *got.JWT[0].ClaimMappings.Username.Prefix != "localhost:" {
		t.Errorf("%+v, %v", got, err)
	}
	if ca := r.First().Trust.Configuration.JWT[1].Issuer.CertificateAuthority; strings.Contains(ca, "PEM") {
		t.Errorf("the record was changed: %s", ca)
	}
}

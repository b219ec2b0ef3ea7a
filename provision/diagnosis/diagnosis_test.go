package diagnosis

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/state"
	"github.com/devenv-oidc/devenv/provision/trust"
)

func TestHopsAfterAFailureAreNotReached(t *testing.T) {
	look := func(f finding) func(context.Context) finding { return func(context.Context) finding { return f } }
	report := &Report{}
	follow(t.Context(), report, []hop{{"a", look(ok("fine"))}, {"b", look(warning("hm", "x"))}, {"c", look(failed("broken", "mend it"))}, {"d", func(context.Context) finding {
		t.Error("a hop after the failure was looked at")
		return ok("")
	}}})
	besides(t.Context(), report, []hop{{"e", look(failed("broken too", ""))}})
	states := ""
	for _, h := range report.Hops {
		states += string(h.State) + " "
	}
	if states != "ok warning failed not-reached failed " || report.FirstFailure != "c" {
		t.Errorf("%s, first failure %q", states, report.FirstFailure)
	}
	if err := report.Error(); failure.ClassOf(err) != failure.Rejected || failure.HintsOf(err)[0] != "mend it" {
		t.Errorf("%v", err)
	}
}

func TestClocks(t *testing.T) {
	now := time.Now()
	for difference, want := range map[time.Duration]State{0: OK, 3 * time.Second: OK, -30 * time.Second: Warning, 6 * time.Minute: Failed, -time.Hour: Failed} {
		if got := compareClocks(now, now.Add(difference)); got.state != want {
			t.Errorf("%s: %s, want %s", difference, got.state, want)
		}
	}
}

// Certificates that are wrong in one way each.
func TestCertificates(t *testing.T) {
	constraint := trust.Domain("dev.localhost")
	ca, err := trust.NewCA("ours", constraint)
	if err != nil {
		t.Fatal(err)
	}
	other, err := trust.NewCA("theirs", constraint)
	if err != nil {
		t.Fatal(err)
	}
	home := state.Home(t.TempDir())
	r := &record.Record{Name: "dev", IssuerPort: 30001}
	r.Profile.Spec.Clusters = []profiles.Cluster{{Name: "main"}}
	d := &login{Environment: environment.New(home, r, record.Runtime{Host: func(_, of string) string { return of + ".dev.localhost" }})}
	for name, c := range map[string]struct {
		by       *trust.CA
		lifetime time.Duration
		host     string
		want     State
	}{
		"a good one":         {ca, 90 * 24 * time.Hour, "dex.dev.localhost", OK},
		"about to expire":    {ca, 2 * time.Hour, "dex.dev.localhost", Warning},
		"expired":            {ca, -time.Hour, "dex.dev.localhost", Failed},
		"another name":       {ca, 90 * 24 * time.Hour, "other.dev.localhost", Failed},
		"by somebody else":   {other, 90 * 24 * time.Hour, "dex.dev.localhost", Failed},
		"not below the CA's": {ca, 90 * 24 * time.Hour, "dex.example.com", Failed},
	} {
		pair, err := c.by.ServerPair(c.lifetime, c.host)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(pair.CertPEM)
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.verify(leaf, ca.Pool(), nil); got.state != c.want {
			t.Errorf("%s: %s (%s), want %s", name, got.state, got.detail, c.want)
		}
	}
}

func TestRulesAllow(t *testing.T) {
	rule := rbacv1.PolicyRule{Verbs: []string{"get"}, APIGroups: []string{"apps"}, Resources: []string{"*"}, ResourceNames: []string{"web"}}
	for text, want := range map[string]bool{
		"get deployments.apps/web in demo":  true,
		"get deployments.apps in demo":      false,
		"list deployments.apps/web in demo": false,
		"get pods/web in demo":              false,
		"get statefulsets.apps/web":         true,
	} {
		action, err := profiles.ParseAction(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := allows(rule, action); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestAddressesAreShownWithoutPasswords(t *testing.T) {
	if got := redacted("http://user:secret@proxy:3128"); got != "…@proxy:3128" {
		t.Error(got)
	}
}

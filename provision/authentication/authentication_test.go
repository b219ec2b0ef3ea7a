package authentication

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/devenv-oidc/devenv/profiles"
)

func parse(t *testing.T, text string) *profiles.AuthenticationConfiguration {
	t.Helper()
	var c profiles.AuthenticationConfiguration
	if err := yaml.UnmarshalStrict([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	return &c
}

const good = `
jwt:
- issuer: {audiences: [kubernetes, demo-app], audienceMatchPolicy: MatchAny}
  claimMappings:
    username: {expression: 'claims.email.split("@")[0]'}
    groups: {claim: groups, prefix: "oidc:"}
    extra: [{key: example.com/sub, valueExpression: claims.sub}]
  claimValidationRules: [{expression: claims.email_verified == true, message: the e-mail is not verified}]
  userValidationRules: [{expression: "!user.username.startsWith('system:')"}]
- issuer: {url: https://other.example.com, audiences: [x]}
  claimMappings: {username: {claim: sub, prefix: "other:"}}
anonymous: {enabled: true, conditions: [{path: /livez}]}
`

func TestMistakesAreTheAPIServersOwn(t *testing.T) {
	if m := Mistakes(parse(t, good), "v1.37.0"); len(m) > 0 {
		t.Errorf("what is right is rejected: %v", m)
	}
	for change, want := range map[string]string{
		`claims.email_verified == true=>claims.email_verified ==`:                           "jwt[0].claimValidationRules[0].expression: Invalid value",
		`claims.email_verified == true=>claims.other == true`:                               "claims.email_verified",
		`prefix: "other:"=>expression: "'x'"`:                                               "jwt[1].claimMappings.username",
		`, audienceMatchPolicy: MatchAny=>`:                                                 "jwt[0].issuer.audienceMatchPolicy",
		`url: https://other.example.com=>url: http://other.example.com`:                     "jwt[1].issuer.url",
		`url: https://other.example.com=>url: https://kubernetes.default.svc.cluster.local`: "jwt[1].issuer.url",
		`example.com/sub=>Sub`:                                                              "jwt[0].claimMappings.extra[0].key",
	} {
		before, after, _ := strings.Cut(change, "=>")
		if !strings.Contains(good, before) {
			t.Fatalf("%q is not there to be changed", before)
		}
		mistakes := strings.Join(Mistakes(parse(t, strings.Replace(good, before, after, 1)), "v1.37.0"), "\n")
		if !strings.Contains(mistakes, want) {
			t.Errorf("%s: want %q, got %q", change, want, mistakes)
		}
	}
	if m := Mistakes(parse(t, good), "v1.29.0"); len(m) != 1 || !strings.Contains(m[0], "needs Kubernetes 1.30") {
		t.Errorf("%v", m)
	}
}

func TestRenderFillsInDex(t *testing.T) {
	for v, want := range map[string]string{"v1.33.1": "apiserver.config.k8s.io/v1beta1", "v1.37.0": "apiserver.config.k8s.io/v1"} {
		text, err := Render(parse(t, good), Known{Own: Issuer{URL: "https://dex.dev.localhost:30001", CAPEM: "PEM"}}, v)
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			APIVersion, Kind string
			JWT              []struct {
				Issuer struct{ URL, CertificateAuthority string }
			}
		}
		if err := yaml.Unmarshal(text, &file); err != nil {
			t.Fatal(err)
		}
		if file.APIVersion != want || file.Kind != "AuthenticationConfiguration" {
			t.Errorf("%s: %s %s", v, file.APIVersion, file.Kind)
		}
		if dex := file.JWT[0].Issuer; dex.URL != "https://dex.dev.localhost:30001" || dex.CertificateAuthority != "PEM" {
			t.Errorf("%+v", dex)
		}
		if other := file.JWT[1].Issuer; other.URL != "https://other.example.com" || other.CertificateAuthority != "" {
			t.Errorf("%+v", other)
		}
	}
}

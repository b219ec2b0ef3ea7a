package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// configured is a profile whose cluster trusts by configuration: Dex for two
// clients, with rules in CEL.
const configured = `
apiVersion: devenv.dev/v1alpha1
kind: Environment
metadata: {name: configured}
spec:
  clusters:
  - name: main
    trust:
      configuration:
        jwt:
        - issuer: {audiences: [kubernetes, demo-app], audienceMatchPolicy: MatchAny}
          claimMappings:
            username: {expression: '"people:" + claims.email.split("@")[0]'}
            groups: {claim: groups, prefix: "oidc:"}
          claimValidationRules: [{expression: claims.email_verified == true, message: the e-mail is not verified}]
          userValidationRules: [{expression: "user.username != 'people:barred'", message: this one is barred}]
    access:
      bindings: [{name: viewers, clusterRole: view, groups: ["oidc:viewers"]}]
  dex:
    clients: [{id: kubernetes, public: true}, {id: demo-app}]
    users: [{email: viewer@example.com, groups: [viewers]}, {email: barred@example.com}]
  expectations:
  - {user: viewer@example.com, username: "people:viewer", can: [list pods], cannot: [list secrets]}
`

// Trust by configuration, on both runtimes, and changed in place.
func TestConfiguration(t *testing.T) {
	t.Parallel()
	file := write(t, "configured.yaml", configured)
	for _, runtime := range []string{"process", "kind"} {
		t.Run(runtime, func(t *testing.T) {
			t.Parallel()
			name := "e2e-conf-" + runtime
			barred := []string{"--set", "spec.dex.users[1].emailVerified=false"} // else the check wants them to be let in
			up := append([]string{"up", "--name", name, "--runtime", runtime, "--file", file}, barred...)
			must(t, up...)
			defer must(t, "down", "--name", name)
			devenv(t, "check", "--name", name).wants(t, 0, "✓ viewer@example.com is people:viewer in main", "✓ viewer@example.com cannot list secrets", ", 0 failed")
			whoami := func(user, client string) (string, error) {
				token := strings.TrimSpace(must(t, "token", "--name", name, "--user", user, "--client", client).stdout)
				text := must(t, "kubeconfig", "--name", name, "--flavor", "token", "--user", user).stdout
				return kubectl(t, write(t, "kubeconfig", replaceToken(text, token)), "auth", "whoami", "--output=jsonpath={.status.userInfo.username}")
			}
			for _, client := range []string{"kubernetes", "demo-app"} {
				if out, err := whoami("viewer@example.com", client); err != nil || out != "people:viewer" {
					t.Errorf("with a token for %s: %q, %v", client, out, err)
				}
			}
			if out, err := whoami("barred@example.com", "kubernetes"); err == nil {
				t.Errorf("who is barred came in as %s", out)
			}

			r := must(t, append(up,
				"--set", `spec.clusters[0].trust.configuration.jwt[0].claimMappings.username.expression='"changed:" + claims.email.split("@")[0]'`,
				"--set", "spec.clusters[0].trust.configuration.jwt[0].issuer.audiences=[kubernetes]",
				"--set", "spec.expectations[0].username=changed:viewer")...)
			if !strings.Contains(r.stderr, "✓ Configure trusted issuers") || strings.Contains(r.stderr, "✓ Start control plane") || strings.Contains(r.stderr, "✓ Start node of cluster") {
				t.Errorf("it was not changed in place:\n%s", r.stderr)
			}
			if out, err := whoami("viewer@example.com", "kubernetes"); err != nil || out != "changed:viewer" {
				t.Errorf("after the change: %q, %v", out, err)
			}
			if _, err := whoami("viewer@example.com", "demo-app"); err == nil {
				t.Error("the audience that was taken out is still trusted")
			}
			if runtime == "process" { // its API server reaches what listens here
				anotherIssuer(t, name, up)
			}
			devenv(t, append(up, "--set", "spec.clusters[0].trust.configuration.anonymous={enabled: false}")...).
				wants(t, 2, `spec.clusters[0].trust.configuration.anonymous: null → {"enabled":false}`, "--recreate")
		})
	}
}

// anotherIssuer has an environment trust another one's Dex beside its own.
func anotherIssuer(t *testing.T, name string, up []string) {
	t.Helper()
	const other = "e2e-conf-other"
	must(t, "up", "--name", other, "--runtime", "process")
	defer must(t, "down", "--name", other)
	s := statusOf(t, other)
	ca, err := os.ReadFile(s.Issuer.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	must(t, append(up, "--set", fmt.Sprintf(`spec.clusters[0].trust.configuration.jwt[1]={issuer: {url: %q, certificateAuthority: %q, audiences: [kubernetes]}, claimMappings: {username: {claim: email, prefix: "other:"}}}`, s.Issuer.URL, ca))...)
	token := strings.TrimSpace(must(t, "token", "--name", other, "--user", "viewer@example.com").stdout)
	text := must(t, "kubeconfig", "--name", name, "--flavor", "token").stdout
	out, err := kubectl(t, write(t, "kubeconfig", replaceToken(text, token)), "auth", "whoami", "--output=jsonpath={.status.userInfo.username}")
	if err != nil || out != "other:viewer@example.com" {
		t.Errorf("with a token of the other issuer: %q, %v", out, err)
	}

	// one that does not answer is rejected, and the file before it stays
	file := filepath.Join(home, name, "clusters", "main", "node", "authentication", "config.yaml")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	devenv(t, append(up, "--set", `spec.clusters[0].trust.configuration.jwt[1]={issuer: {url: "https://localhost:1", audiences: [kubernetes]}, claimMappings: {username: {claim: sub, prefix: "x:"}}}`)...).
		wants(t, 4, "error: Configure trusted issuers: the API server rejected "+file+", and goes on with the one before", "hint: see why in its log")
	if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
		t.Errorf("what was rejected stays there: %v\n%s", err, after)
	}
}

// Flags of an API server that is a process are changed in place.
func TestFlagsChangeInPlace(t *testing.T) {
	needPlain(t)
	before := pidOf(t, plain, "main.etcd")
	changes := []string{"--set", "spec.clusters[0].trust.flags.usernamePrefix=user:", "--set", "spec.expectations=[{user: admin@example.com, can: [list nodes]}]"}
	r := must(t, append([]string{"up", "--name", plain}, changes...)...)
	if !strings.Contains(r.stderr, "✓ Start control plane of cluster main") {
		t.Errorf("up does not say what it changed:\n%s", r.stderr)
	}
	devenv(t, "check", "--name", plain).wants(t, 0, "✓ admin@example.com is user:admin@example.com in main")
	must(t, "up", "--name", plain)
	devenv(t, "check", "--name", plain).wants(t, 0, "✓ admin@example.com is admin@example.com in main")
	if after := pidOf(t, plain, "main.etcd"); after != before {
		t.Error("etcd was restarted for flags of the API server")
	}
}

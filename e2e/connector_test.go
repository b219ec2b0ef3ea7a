package e2e

import (
	"fmt"
	"testing"
)

// People of another provider, a Dex of its own, log in by a connector: with their
// groups, through to the API server. Placeholders work in Dex's values.
func TestConnector(t *testing.T) {
	t.Parallel()
	const upstream, name = "e2e-upstream", "e2e-connected"
	port := freePorts(t, 1)[0]
	for port < 30000 || port > 32767 {
		port = freePorts(t, 1)[0]%2768 + 30000
	}
	must(t, "up", "--name", upstream, "--runtime", "process",
		"--set", fmt.Sprintf(`spec.dex.clients[2]={id: downstream, secret: hush, redirectURIs: ["https://localhost:%d/callback"]}`, port),
		"--set", "spec.dex.users[1].password=known")
	theirs := statusOf(t, upstream)
	profile := write(t, "connected.yaml", fmt.Sprintf(`
apiVersion: devenv.dev/v1alpha1
kind: Environment
metadata: {name: connected, description: people of another provider}
spec:
  clusters:
  - name: main
    trust: {flags: {clientID: kubernetes, usernameClaim: email, groupsClaim: groups, groupsPrefix: "oidc:"}}
    access:
      namespaces: [demo]
      bindings: [{name: developers, clusterRole: edit, namespace: demo, groups: ["oidc:developers"]}]
  dex:
    port: %d
    clients: [{id: kubernetes, public: true, redirectURIs: [http://localhost:8000]}]
    users: [{email: local@example.com}]
    values: {config: {frontend: {issuer: "of ${environment}"}}}
    connectors:
    - type: oidc
      id: upstream
      config:
        issuer: %s
        clientID: downstream
        clientSecret: hush
        redirectURI: ${issuer}/callback
        rootCAs: [%s]
        scopes: [profile, email, groups]
        insecureEnableGroups: true
      users: [{email: dev@example.com, password: known, groups: [developers]}]
  expectations:
  - {user: dev@example.com, claims: {email_verified: true}, can: [create pods in demo], cannot: [list secrets]}
  - {user: local@example.com, cannot: [list pods in demo]}
`, port, theirs.Issuer.URL, theirs.Issuer.CAFile))
	up := []string{"up", "--name", name, "--runtime", "process", "--file", profile}
	must(t, up...).wants(t, 0, "ready and proven")
	devenv(t, "check", "--name", name).wants(t, 0,
		"✓ dev@example.com is dev@example.com in main  (user dev@example.com, groups [oidc:developers system:authenticated])",
		"✓ dev@example.com can create pods in demo", "✓ dev@example.com cannot list secrets", ", 0 failed")
	file := write(t, "kubeconfig", must(t, "kubeconfig", "--name", name, "--user", "dev@example.com").stdout)
	if out, err := kubectl(t, file, "auth", "whoami", "--output=jsonpath={.status.userInfo.groups}"); err != nil || out != `["oidc:developers","system:authenticated"]` {
		t.Errorf("whoami: %s, %v", out, err)
	}
	devenv(t, "token", "--name", name, "--user", "de@example.com").wants(t, 2, "did you mean dev@example.com?")

	devenv(t, append(up, "--set", "spec.dex.connectors[0].users[0].password=wrong")...).wants(t, 5,
		"the issuer rejected the login of dev@example.com: access_denied: the provider asked for the password again")
	devenv(t, append(up, "--set", "spec.dex.connectors[0].users[0].groups=[admins]")...).wants(t, 5, "dev@example.com is dev@example.com in main", "oidc:developers")
	must(t, up...)
	must(t, "down", "--name", upstream) // and then nobody there can log in
	devenv(t, "token", "--name", name, "--user", "dev@example.com").wants(t, 4, "hint: ")
	must(t, "token", "--name", name, "--user", "local@example.com")
	must(t, "down", "--name", name)
}

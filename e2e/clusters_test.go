package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Two clusters trust one issuer, each for its own client.
func TestSeveralClusters(t *testing.T) {
	t.Parallel()
	const name = "e2e-several"
	second := "spec.clusters[1]={name: second, trust: {flags: {clientID: demo-app, usernameClaim: email, usernamePrefix: 'second:'}}, access: {bindings: [{name: viewers, clusterRole: view, users: ['second:viewer@example.com']}]}}"
	must(t, "up", "--name", name, "--runtime", "process", "--set", second, "--set", "spec.expectations[4]={user: viewer@example.com, cluster: second, can: [list pods], cannot: [list secrets]}")
	defer noProcessLeft(t, name)
	defer must(t, "down", "--name", name)
	s := statusOf(t, name)
	if len(s.Clusters) != 2 || s.Clusters[1].Name != "second" || s.Clusters[1].State != "running" || !s.Ready || len(s.Processes) != 7 {
		t.Errorf("status: %+v", s)
	}
	devenv(t, "check", "--name", name).wants(t, 0, "✓ viewer@example.com is viewer@example.com in main", "✓ second: viewer@example.com is second:viewer@example.com in second", ", 0 failed")
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := must(t, "kubeconfig", "--name", name, "--cluster", "second", "--user", "viewer@example.com").stdout
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := kubectl(t, file, "auth", "whoami", "--output=jsonpath={.status.userInfo.username}"); err != nil || out != "second:viewer@example.com" {
		t.Errorf("%q, %v", out, err)
	}
}

// A cluster may trust another's service accounts and nobody else: no user can log
// in there, and the connection is proven all the same.
func TestTrustWithoutUsers(t *testing.T) {
	t.Parallel()
	const name = "e2e-nousers"
	must(t, "up", "--name", name, "--profile", "greenhouse", "--runtime", "process",
		"--set", `spec.clusters[1].trust.configuration.jwt=[{issuer: {cluster: central, audiences: [greenhouse]}, claimMappings: {username: {claim: sub, prefix: "greenhouse:"}}}]`,
		"--set", "spec.expectations=[]")
	defer must(t, "down", "--name", name)
	devenv(t, "check", "--name", name).wants(t, 0, "✓ central → remote: my-cluster can list nodes", ", 0 failed")
	for _, flavor := range []string{"exec", "token", "kubelogin"} {
		devenv(t, "kubeconfig", "--name", name, "--cluster", "remote", "--flavor", flavor).wants(t, 2,
			`cluster "remote" does not trust the issuer, so that no user can log in there`, "hint: its administrator's: devenv kubeconfig --flavor admin --cluster remote --name "+name)
	}
	admin := write(t, "admin", must(t, "kubeconfig", "--name", name, "--cluster", "remote", "--flavor", "admin").stdout)
	if _, err := kubectl(t, admin, "get", "namespaces"); err != nil {
		t.Error(err)
	}
	token := strings.TrimSpace(must(t, "token", "--name", name, "--user", "admin@example.com").stdout)
	bare := fmt.Sprintf("{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: c, user: u}}], clusters: [{name: c, cluster: {server: %q, insecure-skip-tls-verify: true}}], users: [{name: u, user: {token: %s}}]}", statusOf(t, name).Clusters[1].Server, token)
	if _, err := kubectl(t, write(t, "person", bare), "get", "namespaces"); err == nil || !strings.Contains(err.Error(), "logged in") && !strings.Contains(err.Error(), "Unauthorized") {
		t.Errorf("a token of Dex, which the cluster does not trust: %v", err)
	}
	must(t, "up", "--name", name, "--profile", "greenhouse", "--set", `spec.clusters[1].trust.configuration.jwt=[{issuer: {cluster: central, audiences: [greenhouse]}, claimMappings: {username: {claim: sub, prefix: "greenhouse:"}}}]`, "--set", "spec.connections=[]", "--set", "spec.expectations=[]")
	if out := mustKubectl(t, statusOf(t, name).Clusters[0].Kubeconfig, "get", "secrets,serviceaccounts", "--namespace", "my-organization", "--output", "name"); strings.Contains(out, "my-cluster") {
		t.Errorf("the profile has no connection any more, and there is still:\n%s", out)
	}
}

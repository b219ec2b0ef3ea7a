package e2e

import (
	"encoding/json"
	"testing"
)

func TestPalette(t *testing.T) {
	const user = "oidc-demo-user@example.com"
	onEach(t, "palette", func(t *testing.T, name string) {
		issuer := statusOf(t, name).Issuer.URL
		devenv(t, "check", "--name", name).wants(t, 0,
			`✓ the token of `+user+` has aud="kubernetes"`,
			`✓ the token of `+user+` has email="`+user+`"`,
			`✓ the token of `+user+` has email_verified=true`,
			`✓ the token of `+user+` has iss="`+issuer+`"`,
			"✓ "+user+" lists with kubectl: list pods", ", 0 failed")
		var claims struct{ Iat, Exp int64 }
		if err := json.Unmarshal([]byte(must(t, "token", "--name", name, "--output", "claims").stdout), &claims); err != nil {
			t.Fatal(err)
		}
		if lifetime := claims.Exp - claims.Iat; lifetime != 8*3600 {
			t.Errorf("a token is good for %d seconds", lifetime)
		}
		kubeconfig := write(t, "kubeconfig", must(t, "kubeconfig", "--name", name, "--flavor", "token").stdout)
		if _, err := kubectl(t, kubeconfig, "get", "pods", "--all-namespaces"); err != nil {
			t.Error(err)
		}
	})
}

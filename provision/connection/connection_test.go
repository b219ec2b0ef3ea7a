package connection

import (
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"

	"github.com/devenv-oidc/devenv/profiles"
)

func token(t *testing.T, claims map[string]any) string {
	t.Helper()
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return "e30." + base64.RawURLEncoding.EncodeToString(text) + ".x"
}

// A kubeconfig stays only while it is what would be made now and its token
// has a third of its life before it.
func TestGood(t *testing.T) {
	c := Connection{
		Connection: profiles.Connection{Name: "c", Namespace: "n", From: "a", To: "b", Audience: "x", TokenLifetime: "1h"},
		Server:     "https://b:6443", CA: []byte("CA"),
	}
	kubeconfig := func(c Connection, sub string, aud []string, left time.Duration) []byte {
		text, err := c.kubeconfig(token(t, map[string]any{"sub": sub, "aud": aud, "exp": time.Now().Add(left).Unix()}))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	if !c.good(kubeconfig(c, c.Subject(), []string{"x"}, 30*time.Minute)) {
		t.Error("a good one is not kept")
	}
	elsewhere := c
	elsewhere.Server = "https://b:7443"
	for name, text := range map[string][]byte{
		"none":               nil,
		"no kubeconfig":      []byte("x: ["),
		"in its last third":  kubeconfig(c, c.Subject(), []string{"x"}, 19*time.Minute),
		"over":               kubeconfig(c, c.Subject(), []string{"x"}, -time.Minute),
		"somebody else's":    kubeconfig(c, "system:serviceaccount:n:d", []string{"x"}, time.Hour),
		"another audience":   kubeconfig(c, c.Subject(), []string{"y"}, time.Hour),
		"two audiences":      kubeconfig(c, c.Subject(), []string{"x", "y"}, time.Hour),
		"of another address": kubeconfig(elsewhere, c.Subject(), []string{"x"}, time.Hour),
	} {
		if c.good(text) {
			t.Errorf("%s is kept", name)
		}
	}
}

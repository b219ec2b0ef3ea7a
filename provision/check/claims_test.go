package check

import (
	"testing"

	"github.com/devenv-oidc/devenv/profiles"
)

func TestClaims(t *testing.T) {
	login := Login{Email: "a@example.com", Claims: map[string]any{
		"iss": "https://issuer", "aud": []any{"one", "two"}, "email_verified": true, "exp": 12.0,
	}}
	for _, c := range []struct {
		claim  string
		value  any
		ok     bool
		detail string
	}{
		{"aud", "two", true, ""},
		{"aud", "three", false, `it has ["one","two"]`},
		{"aud", []any{"one", "two"}, true, ""},
		{"email_verified", true, true, ""},
		{"email_verified", "true", false, "it has true"},
		{"exp", 12, true, ""},
		{"groups", "a", false, "it has no such claim"},
	} {
		results := Claims(login, "https://issuer", profiles.Expectation{Claims: map[string]any{c.claim: c.value}})
		for _, r := range results {
			if r.Name == `the token of a@example.com has iss="https://issuer"` {
				if !r.OK {
					t.Error(r.Detail)
				}
				continue
			}
			if r.OK != c.ok || r.Detail != c.detail {
				t.Errorf("%s %v: %v, %q", c.claim, c.value, r.OK, r.Detail)
			}
		}
		if len(results) != 2 {
			t.Errorf("%s: %d results", c.claim, len(results))
		}
	}
	if r := Claims(login, "https://another", profiles.Expectation{Claims: map[string]any{"aud": "one"}}); r[1].OK {
		t.Error("the issuer is not compared")
	}
	if r := Claims(login, "https://issuer", profiles.Expectation{}); len(r) != 0 {
		t.Errorf("nothing was expected: %v", r)
	}
}

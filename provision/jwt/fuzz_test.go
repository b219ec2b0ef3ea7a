package jwt

import (
	"testing"
)

// Tokens come from anywhere: whatever they are, reading one ends, and without a
// panic. `make fuzz` looks for longer.
func FuzzToken(f *testing.F) {
	for _, seed := range []string{"", "a.b.c", "eyJhbGciOiJub25lIn0.eyJleHAiOjF9.", "..", "e30.e30.e30", "eyJhbGciOiJSUzI1NiJ9.bnVsbA.x", "e30.WzFd.x", "e30.eyJleHAiOjFlNDAwfQ.x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		claims, err := Claims(token)
		if err == nil && claims == nil {
			t.Error("no claims and no error")
		}
		_, _ = Expiry(token)
		_ = KeyID(token)
	})
}

package jwt

import "testing"

// {"alg":"none"}.{"sub":"x","exp":1}.
const token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4IiwiZXhwIjoxfQ."

func TestClaims(t *testing.T) {
	claims, err := Claims(token)
	if err != nil || claims["sub"] != "x" {
		t.Errorf("%v, %v", claims, err)
	}
	for _, bad := range []string{"", "a.b", "a.!.c", "a.YQ.c"} {
		if _, err := Claims(bad); err == nil {
			t.Errorf("%q has claims", bad)
		}
	}
}

func TestExpiry(t *testing.T) {
	if at, err := Expiry(token); err != nil || at.Unix() != 1 {
		t.Errorf("%v, %v", at, err)
	}
	if at, err := Expiry("a.e30.c"); err == nil {
		t.Errorf("a token without exp ends at %s", at)
	}
}

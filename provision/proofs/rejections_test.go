package proofs

import (
	"strings"
	"testing"
)

func TestTamperChangesTheSignatureAlone(t *testing.T) {
	for _, token := range []string{"h.p.Abc", "h.p.zbc"} {
		got := tamper(token)
		if got == token || !strings.HasPrefix(got, "h.p.") || len(got) != len(token) {
			t.Errorf("%s became %s", token, got)
		}
	}
}

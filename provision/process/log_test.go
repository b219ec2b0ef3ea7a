package process

import (
	"testing"
	"time"
)

func TestStamped(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	log := "no header\n" +
		"I1231 23:59:59.500000     7 a.go:1] \"Happy\"\n" +
		"E0102 02:59:59.123456     7 authentication.go:75] \"Unable to authenticate the request\" err=\"x\"\n" +
		"\tgoes on\n"
	want := "2025-12-31T23:59:59.5Z I1231 23:59:59.500000     7 a.go:1] \"Happy\"\n" +
		"2026-01-02T02:59:59.123456Z E0102 02:59:59.123456     7 authentication.go:75] \"Unable to authenticate the request\" err=\"x\"\n" +
		"2026-01-02T02:59:59.123456Z \tgoes on\n"
	if got := stamped(log, now); got != want {
		t.Errorf("got\n%s", got)
	}
}

package binding

import (
	"bytes"
	"testing"
	"time"

	"github.com/gorilla/securecookie"
)

// The library itself accepts a cookie of today, and rejects one of last year and
// a changed one.
func TestCookies(t *testing.T) {
	signing := bytes.Repeat([]byte("s"), 32)
	cookies := securecookie.New(signing, bytes.Repeat([]byte("e"), 32))
	cookie, err := cookies.Encode("name", "value")
	if err != nil {
		t.Fatal(err)
	}
	dated := func(date time.Time) string {
		made, err := Dated("name", cookie, signing, date)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	changed, err := Changed(cookie)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cookie string
		ok     bool
	}{
		"its own":   {cookie, true},
		"of today":  {dated(time.Now()), true},
		"last year": {dated(time.Now().AddDate(-1, 0, 0)), false},
		"changed":   {changed, false},
	} {
		value := ""
		if err := cookies.Decode("name", c.cookie, &value); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Dated("name", "none", signing, time.Now()); err == nil {
		t.Error("what is no cookie got a date")
	}
}

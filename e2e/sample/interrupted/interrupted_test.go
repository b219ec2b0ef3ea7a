// Package interrupted has tests that end badly, when they are told to: devenv's
// own tests look at what stays of them.
package interrupted

import (
	"os"
	"testing"
	"time"

	"github.com/devenv-oidc/devenv/provision/devenvtest"
)

// NOTES_TEST is "fail", or a file that is written when everything stands, in the
// middle of a test that is then killed.
func TestInterrupted(t *testing.T) {
	what := os.Getenv("NOTES_TEST")
	if what == "" {
		t.Skip("it ends badly on purpose, and does so only when NOTES_TEST says how: TestSample in devenv's e2e sets it")
	}
	env := devenvtest.Up(t, devenvtest.Profile("default"), devenvtest.Runtime("process"))
	t.Logf("environment %s", env.Name)
	if what == "fail" {
		t.Error("as it was told")
		return
	}
	if err := os.WriteFile(what, []byte(env.Name), 0o600); err != nil {
		t.Fatal(err)
	}
	<-time.After(5 * time.Minute)
}

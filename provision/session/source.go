package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/jwt"
)

// fromSource gets a user's token from where the profile says, and makes sure that
// it is theirs.
//
// A token that says nothing of an e-mail can be anybody's: the API server then
// tells whose it is.
func fromSource(ctx context.Context, source profiles.TokenSource, email string) (identity.Tokens, error) {
	where, text, err := "the file "+source.File, []byte(nil), error(nil)
	if source.File != "" {
		text, err = os.ReadFile(source.File)
	} else {
		where = "the command " + source.Command[0]
		text, err = run(ctx, source.Command)
	}
	token := strings.TrimSpace(string(text))
	if err == nil {
		var claims map[string]any
		if claims, err = jwt.Claims(token); err == nil && claims["email"] != nil && claims["email"] != email {
			err = fmt.Errorf("it is one of %v", claims["email"])
		}
	}
	if err == nil {
		var until time.Time
		if until, err = jwt.Expiry(token); err == nil && time.Now().After(until) {
			err = fmt.Errorf("it expired at %s", until.UTC().Format(time.DateTime))
		}
	}
	if err != nil && ctx.Err() == nil {
		err = failure.New(failure.Rejected, fmt.Errorf("could not get a token of %s from %s: %w", email, where, err), "correct spec.issuer.users[].token in the profile")
	}
	return identity.Tokens{ID: token}, err
}

// run is what a command prints; with an error, the last line that it says of it.
func run(ctx context.Context, command []string) ([]byte, error) {
	var said bytes.Buffer
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Stderr = &said
	c.WaitDelay = time.Second // for what it started itself
	out, err := c.Output()
	if lines := strings.Split(strings.TrimSpace(said.String()), "\n"); err != nil && lines[0] != "" {
		err = errors.Join(err, errors.New(lines[len(lines)-1]))
	}
	return out, err
}

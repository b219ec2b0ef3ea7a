package identity

import (
	"context"
	"crypto/rand"
	"errors"

	"golang.org/x/oauth2"

	"github.com/devenv-oidc/devenv/provision/jwt"
)

// Code is one login by authorization code (RFC 6749, section 4.1) with a proof
// key (RFC 7636). All of it but State stays with whoever began the login.
type Code struct {
	// RedirectURI that the answer comes to.
	RedirectURI string
	// State comes back with the answer: one with another state is for another
	// login.
	State string
	// Nonce is in the token that comes of it, and Verifier proves who began.
	Nonce, Verifier string
}

// NewCode begins a login.
func NewCode(redirectURI string) Code {
	return Code{RedirectURI: redirectURI, State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier()}
}

// CodeURL is where the user logs in.
func (l Login) CodeURL(ctx context.Context, c Code) (string, error) {
	config, err := l.config(ctx)
	if err != nil {
		return "", err
	}
	config.RedirectURL = c.RedirectURI
	return config.AuthCodeURL(c.State, oauth2.S256ChallengeOption(c.Verifier), oauth2.SetAuthURLParam("nonce", c.Nonce)), nil
}

// Exchange gets the tokens for the code of an answer.
func (l Login) Exchange(ctx context.Context, c Code, code string) (Tokens, error) {
	config, err := l.config(ctx)
	if err != nil {
		return Tokens{}, err
	}
	config.RedirectURL = c.RedirectURI
	token, err := config.Exchange(l.with(ctx), code, oauth2.VerifierOption(c.Verifier))
	got, err := tokens("whoever used the browser", token, err)
	if err != nil {
		return Tokens{}, err
	}
	claims, err := jwt.Claims(got.ID)
	if err == nil && claims["nonce"] != c.Nonce {
		err = errors.New("the token is not for this login: it has another nonce")
	}
	return got, err
}

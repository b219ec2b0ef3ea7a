// Package login tells who a token is of.
package login

import (
	"context"
	"fmt"
	"net/http"

	"github.com/coreos/go-oidc/v3/oidc"
)

// Verifier checks tokens of one issuer for one client.
type Verifier struct{ tokens *oidc.IDTokenVerifier }

// New asks the issuer for its keys with the given HTTP client.
func New(ctx context.Context, client *http.Client, issuer, clientID string) (*Verifier, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, client), issuer)
	if err != nil {
		return nil, err
	}
	return &Verifier{provider.Verifier(&oidc.Config{ClientID: clientID})}, nil
}

// Email is the verified e-mail of whoever the token is of.
func (v *Verifier) Email(ctx context.Context, token string) (string, error) {
	verified, err := v.tokens.Verify(ctx, token)
	if err != nil {
		return "", err
	}
	var claims struct {
		Email    string `json:"email"`
		Verified bool   `json:"email_verified"`
	}
	if err := verified.Claims(&claims); err != nil {
		return "", err
	}
	if claims.Email == "" || !claims.Verified {
		return "", fmt.Errorf("the token has no verified e-mail")
	}
	return claims.Email, nil
}

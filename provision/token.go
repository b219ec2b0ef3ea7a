package provision

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/identity"
)

// TokenRequest asks for an id token.
type TokenRequest struct {
	User   string // e-mail
	Client string // id; the one that the first cluster trusts when empty
	// Password instead of the environment's own record of it.
	Password string
}

// Token logs a user in by the password grant and returns the id token.
func (e *Environment) Token(ctx context.Context, r TokenRequest) (string, error) {
	user, err := e.user(r.User)
	if err != nil {
		return "", err
	}
	if r.Client == "" {
		r.Client = e.record.Profile.Spec.Clusters[0].Trust.Flags.ClientID
	}
	client := e.record.Profile.Client(r.Client)
	if client == nil {
		var ids []string
		for _, c := range e.record.Profile.Spec.Dex.Clients {
			ids = append(ids, c.ID)
		}
		return "", failure.Newf(failure.Usage, "there is no client %q in environment %q", r.Client, e.record.Name).
			Hint("the clients are: %s", strings.Join(ids, ", "))
	}
	if r.Password == "" {
		r.Password = user.Password
	}
	transport, err := e.issuerClient()
	if err != nil {
		return "", err
	}
	token, err := identity.Token(ctx, transport, e.Issuer(), identity.TokenRequest{
		Client: client.ID, Secret: client.Secret, Email: user.Email, Password: r.Password,
	})
	var refused *identity.LoginError
	if errors.As(err, &refused) {
		return "", failure.New(failure.Refused, err, "put the users back as the profile has them: devenv up"+nameFlag(e.record.Name))
	}
	if err != nil && ctx.Err() == nil {
		return "", failure.New(failure.Provisioning, err, "see whether it runs: devenv status"+nameFlag(e.record.Name), "start or repair it: devenv up"+nameFlag(e.record.Name))
	}
	return token, err
}

// user finds a user of the environment; an empty e-mail means the first.
func (e *Environment) user(email string) (*profiles.User, error) {
	users := e.record.Profile.Spec.Dex.Users
	if email == "" {
		return &users[0], nil
	}
	if u := e.record.Profile.User(email); u != nil {
		return u, nil
	}
	var emails []string
	for _, u := range users {
		emails = append(emails, u.Email)
	}
	unknown := failure.Newf(failure.Usage, "there is no user %q in environment %q", email, e.record.Name)
	if near := profiles.Nearest(email, emails); near != "" {
		return nil, unknown.Hint("did you mean %s?", near)
	}
	return nil, unknown.Hint("the users are: %s", strings.Join(emails, ", "))
}

// Claims reads a token's claims without verifying it.
func Claims(token string) (map[string]any, error) {
	claims, err := identity.Claims(token)
	if err != nil {
		return nil, fmt.Errorf("could not read the token: %w", err)
	}
	return claims, nil
}

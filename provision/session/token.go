// Package session is how users get into an environment: tokens by every grant,
// their cache for kubectl, kubeconfigs, and the link that shares them.
package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/jwt"
	"github.com/devenv-oidc/devenv/provision/record"
)

// Grants by which users and clients get tokens.
const (
	GrantPassword          = "password"
	GrantBrowser           = "browser" // authorization code with PKCE
	GrantDevice            = "device"
	GrantClientCredentials = "client-credentials"
)

// issuerLimit is how long AskIssuer waits.
const issuerLimit = 3 * time.Second

// TokenRequest asks for an ID token.
type TokenRequest struct {
	// User by e-mail; the first when empty. With the grants browser and device
	// it is whoever logs in, and must be this one if one is named.
	User   string
	Client string // id; the one that the first cluster trusts when empty
	// Password instead of the environment's own record of it.
	Password string
	// Audience is another client that the token is meant for too; empty for none.
	Audience string
	// Grant is GrantPassword when empty.
	Grant string
	// Show tells the user where to log in: with the grant browser the URL is to
	// be opened on this machine, with device on any device and with a code.
	Show func(url, code string)
}

// Token logs a user in and returns the ID token.
func Token(ctx context.Context, e *environment.Environment, r TokenRequest) (string, error) {
	tokens, err := logIn(ctx, e, r, "", false)
	return tokens.ID, err
}

// logIn gets tokens for a user, with a refresh token as long as Dex accepts
// it. With offline there is a new refresh token.
func logIn(ctx context.Context, e *environment.Environment, r TokenRequest, refresh string, offline bool) (identity.Tokens, error) {
	client, err := clientOf(e, r.Client)
	if err != nil {
		return identity.Tokens{}, err
	}
	provider, err := e.Provider()
	if err != nil {
		return identity.Tokens{}, err
	}
	login := identity.Login{Provider: provider, Client: *client, Offline: offline, Audience: r.Audience}
	if refresh != "" {
		tokens, err := login.Refresh(ctx, refresh)
		var rejected *identity.LoginError
		if !errors.As(err, &rejected) { // else it has expired, and a person is needed
			return tokens, explain(ctx, e, errors.Join(err, isUser(tokens, r.User)))
		}
	}
	tokens, err := byGrant(ctx, e, login, r)
	return tokens, explain(ctx, e, err)
}

func byGrant(ctx context.Context, e *environment.Environment, login identity.Login, r TokenRequest) (identity.Tokens, error) {
	switch r.Grant {
	case GrantPassword, "":
		user, err := userOf(e, r.User)
		if err != nil {
			return identity.Tokens{}, err
		}
		if user.Token != nil && r.Password == "" {
			return fromSource(ctx, *user.Token, user.Email)
		}
		if _, connector := e.Record.Profile.Person(user.Email); connector != nil {
			return byConnector(ctx, e, login, *connector, user.Email, cmp.Or(r.Password, user.Password))
		}
		return login.Password(ctx, user.Email, cmp.Or(r.Password, user.Password))
	case GrantBrowser:
		if err := identity.Discover(ctx, login.HTTP, e.Issuer()); err != nil { // a browser would say less
			return identity.Tokens{}, fmt.Errorf("could not ask the issuer for a login page: %w", err)
		}
		tokens, err := login.Browser(ctx, func(url string) { r.Show(url, "") })
		return tokens, errors.Join(err, isUser(tokens, r.User))
	case GrantDevice:
		if !e.External() {
			if err := identity.CheckDevice(login.Client); err != nil {
				return identity.Tokens{}, err
			}
		}
		tokens, err := login.Device(ctx, r.Show)
		return tokens, errors.Join(err, isUser(tokens, r.User))
	case GrantClientCredentials:
		if version := e.Spec().Dex.Version; !e.External() && !e.Record.Pins.DexHas(version, GrantClientCredentials) {
			return identity.Tokens{}, failure.Newf(failure.Usage, "Dex %s has no grant client-credentials", e.Record.Pins.DexImage(version).Tag).
				Hint("the grants are: %s, %s, %s", GrantPassword, GrantBrowser, GrantDevice).
				Hint("a profile may ask for a Dex that has it: spec.dex.version")
		}
		if r.User != "" {
			return identity.Tokens{}, failure.Newf(failure.Usage, "by client-credentials a client gets a token for itself, and not for %s", r.User)
		}
		return login.ClientCredentials(ctx)
	}
	return identity.Tokens{}, failure.Newf(failure.Usage, "there is no grant %q", r.Grant)
}

// isUser makes sure that who logged in is who was asked for.
func isUser(tokens identity.Tokens, email string) error {
	if tokens.ID == "" || email == "" {
		return nil
	}
	claims, err := jwt.Claims(tokens.ID)
	if err == nil && claims["email"] != email {
		err = failure.Newf(failure.Rejected, "%v logged in, and not %s", claims["email"], email)
	}
	return err
}

// explain gives the errors of a login their class and hints.
func explain(ctx context.Context, e *environment.Environment, err error) error {
	var (
		rejected *identity.LoginError
		typed    *failure.Error
		grant    *identity.GrantError
	)
	name := record.NameFlag(e.Name())
	switch {
	case err == nil, errors.As(err, &typed), errors.Is(ctx.Err(), context.Canceled):
		return err
	case ctx.Err() != nil:
		return failure.New(failure.Provisioning, err, "give it more time, for example: devenv token --timeout 15m"+name)
	case errors.As(err, &grant) && grant.Grant == GrantClientCredentials:
		return failure.New(failure.Usage, err, "name a client that is not public: devenv token --client ID --grant "+GrantClientCredentials+name)
	case errors.As(err, &grant):
		return failure.New(failure.Usage, err, "give it one in the profile: clients[].redirectURIs", "or name another client: devenv token --client ID"+name)
	case errors.Is(err, syscall.EADDRINUSE):
		return failure.New(failure.Prerequisite, err, "end what listens there, or give the client another redirect URI in the profile")
	case errors.As(err, &rejected) && e.External():
		return failure.New(failure.Rejected, err, "see what the issuer says of it, and correct spec.issuer.users in the profile")
	case errors.As(err, &rejected):
		return failure.New(failure.Rejected, err, "put the users back as the profile has them: "+e.Record.UpAgain())
	}
	if e.External() {
		return failure.New(failure.Provisioning, err, "see whether the issuer answers: devenv doctor"+name)
	}
	return failure.New(failure.Provisioning, err, "see whether it runs: devenv status"+name, "start or repair it: "+e.Record.UpAgain())
}

// clientOf finds a client of the environment; an empty id means the one whose
// tokens the first cluster accepts.
func clientOf(e *environment.Environment, id string) (*profiles.Client, error) {
	id = cmp.Or(id, e.First().Trust.Provider().ClientID)
	if client := e.Record.Profile.Client(id); client != nil {
		return client, nil
	}
	var ids []string
	for _, c := range e.Spec().Clients() {
		ids = append(ids, c.ID)
	}
	return nil, failure.Newf(failure.Usage, "there is no client %q in environment %q", id, e.Name()).
		Hint("the clients are: %s", strings.Join(ids, ", "))
}

// userOf finds a user of the environment; an empty e-mail means the first.
func userOf(e *environment.Environment, email string) (*profiles.User, error) {
	if email == "" {
		return &e.Spec().Users()[0], nil
	}
	if u, _ := e.Record.Profile.Person(email); u != nil {
		return u, nil
	}
	var emails []string
	for _, u := range e.Record.Profile.People() {
		emails = append(emails, u.Email)
	}
	unknown := failure.Newf(failure.Usage, "there is no user %q in environment %q", email, e.Name())
	if near := profiles.Nearest(email, emails); near != "" {
		return nil, unknown.Hint("did you mean %s?", near)
	}
	return nil, unknown.Hint("the users are: %s", strings.Join(emails, ", "))
}

// Claims reads a token's claims without verifying it.
func Claims(token string) (map[string]any, error) {
	claims, err := jwt.Claims(token)
	if err != nil {
		return nil, fmt.Errorf("could not read the token: %w", err)
	}
	return claims, nil
}

// AskIssuer says whether the issuer answers within three seconds: nil, or why
// not.
func AskIssuer(ctx context.Context, e *environment.Environment) error {
	client, err := e.IssuerClient()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, issuerLimit)
	defer cancel()
	return identity.Discover(ctx, client, e.Issuer())
}

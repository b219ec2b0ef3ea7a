package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/jwt"
)

// Grants by which tokens are to be had.
const (
	GrantPassword          = "password"
	GrantBrowser           = "browser" // authorization code with a proof key
	GrantDevice            = "device"
	GrantClientCredentials = "client-credentials"
)

// TokenRequest asks for an id token.
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
	// Show tells the user where to log in: with the grant browser to be opened
	// here, with device on any device and with a code.
	Show func(url, code string)
}

// Token logs a user in and returns the id token.
func (e *Environment) Token(ctx context.Context, r TokenRequest) (string, error) {
	tokens, err := e.tokens(ctx, r, "", false)
	return tokens.ID, err
}

// tokens logs a user in, or whoever a refresh token stands for while it is
// good; with offline there will be one.
func (e *Environment) tokens(ctx context.Context, r TokenRequest, refresh string, offline bool) (identity.Tokens, error) {
	client, err := e.client(r.Client)
	if err != nil {
		return identity.Tokens{}, err
	}
	transport, err := e.issuerClient()
	if err != nil {
		return identity.Tokens{}, err
	}
	login := identity.Login{Issuer: e.Issuer(), HTTP: transport, Client: *client, Offline: offline, Audience: r.Audience}
	if refresh != "" {
		tokens, err := login.Refresh(ctx, refresh)
		var refused *identity.LoginError
		if !errors.As(err, &refused) { // else it is spent, and a person is needed
			return tokens, e.explainLogin(ctx, errors.Join(err, e.isUser(tokens, r.User)))
		}
	}
	tokens, err := e.logIn(ctx, login, r)
	return tokens, e.explainLogin(ctx, err)
}

func (e *Environment) logIn(ctx context.Context, login identity.Login, r TokenRequest) (identity.Tokens, error) {
	switch r.Grant {
	case GrantPassword, "":
		user, err := e.user(r.User)
		if err != nil {
			return identity.Tokens{}, err
		}
		return login.Password(ctx, user.Email, cmp.Or(r.Password, user.Password))
	case GrantBrowser:
		if err := discover(ctx, login.HTTP, e.Issuer()); err != nil { // a browser would say less
			return identity.Tokens{}, fmt.Errorf("could not ask Dex for a login page: %w", err)
		}
		tokens, err := login.Browser(ctx, func(url string) { r.Show(url, "") })
		return tokens, errors.Join(err, e.isUser(tokens, r.User))
	case GrantDevice:
		tokens, err := login.Device(ctx, r.Show)
		return tokens, errors.Join(err, e.isUser(tokens, r.User))
	case GrantClientCredentials:
		if !e.pins.DexHas(e.record.Profile.Spec.Dex.Version, GrantClientCredentials) {
			return identity.Tokens{}, failure.Newf(failure.Usage, "Dex %s has no grant client-credentials", e.dexImage().Tag).
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
func (e *Environment) isUser(tokens identity.Tokens, email string) error {
	if tokens.ID == "" || email == "" {
		return nil
	}
	claims, err := jwt.Claims(tokens.ID)
	if err == nil && claims["email"] != email {
		err = failure.Newf(failure.Refused, "%v logged in, and not %s", claims["email"], email)
	}
	return err
}

func (e *Environment) explainLogin(ctx context.Context, err error) error {
	var (
		refused *identity.LoginError
		typed   *failure.Error
		grant   *identity.GrantError
	)
	name := nameFlag(e.record.Name)
	switch {
	case err == nil, errors.As(err, &typed), errors.Is(ctx.Err(), context.Canceled):
		return err
	case ctx.Err() != nil:
		return failure.New(failure.Provisioning, err, "give it more time, for example: devenv token --timeout 15m"+name)
	case errors.As(err, &grant) && grant.Grant == GrantClientCredentials:
		return failure.New(failure.Usage, err, "name a client that is not public: devenv token --client ID --grant "+GrantClientCredentials+name)
	case errors.As(err, &grant):
		return failure.New(failure.Usage, err, "give it one in the profile: spec.dex.clients[].redirectURIs", "or name another client: devenv token --client ID"+name)
	case errors.Is(err, syscall.EADDRINUSE):
		return failure.New(failure.Prerequisite, err, "end what listens there, or give the client another redirect URI in the profile")
	case errors.As(err, &refused):
		return failure.New(failure.Refused, err, "put the users back as the profile has them: "+e.upAgain())
	}
	return failure.New(failure.Provisioning, err, "see whether it runs: devenv status"+name, "start or repair it: "+e.upAgain())
}

// client finds a client of the environment; an empty id means the one whose
// tokens the first cluster takes.
func (e *Environment) client(id string) (*profiles.Client, error) {
	id = cmp.Or(id, e.record.Profile.Spec.Clusters[0].Trust.Dex().ClientID)
	if client := e.record.Profile.Client(id); client != nil {
		return client, nil
	}
	var ids []string
	for _, c := range e.record.Profile.Spec.Dex.Clients {
		ids = append(ids, c.ID)
	}
	return nil, failure.Newf(failure.Usage, "there is no client %q in environment %q", id, e.record.Name).
		Hint("the clients are: %s", strings.Join(ids, ", "))
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
	claims, err := jwt.Claims(token)
	if err != nil {
		return nil, fmt.Errorf("could not read the token: %w", err)
	}
	return claims, nil
}

package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/devenv-oidc/devenv/profiles"
)

// Login gets tokens from a provider, as one of its clients.
type Login struct {
	*Provider
	Client profiles.Client
	// Offline asks for a refresh token too.
	Offline bool
	// Audience is another client that the token is for, which trusts this one
	// (https://dexidp.io/docs/configuration/custom-scopes-claims-clients/).
	Audience string
}

// Tokens are what a login gives.
type Tokens struct {
	ID string `json:"id"`
	// Refresh gets others without the user; empty where it was not asked for.
	Refresh string `json:"refresh,omitempty"`
}

// LoginError says that the issuer rejected a login, in its words (RFC 6749, 5.2).
type LoginError struct {
	Who               string
	Code, Description string
}

func (e *LoginError) Error() string {
	return fmt.Sprintf("the issuer rejected the login of %s: %s: %s", e.Who, e.Code, e.Description)
}

func (l Login) config(ctx context.Context) (*oauth2.Config, error) {
	m, err := l.discover(ctx)
	if err != nil {
		return nil, err
	}
	scopes := m.scopes("openid", "email", "profile", "groups")
	if l.Offline {
		scopes = append(scopes, m.scopes("offline_access")...)
	}
	if l.Audience != "" {
		scopes = append(scopes, "audience:server:client_id:"+l.Audience)
	}
	return &oauth2.Config{ClientID: l.Client.ID, ClientSecret: l.Client.Secret, Scopes: scopes, Endpoint: m.endpoint(l.Client.Secret)}, nil
}

// with makes the oauth2 package use the issuer's own HTTP client.
func (l Login) with(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, l.HTTP)
}

// Password logs a user in by their password (RFC 6749, section 4.3).
func (l Login) Password(ctx context.Context, email, password string) (Tokens, error) {
	config, err := l.config(ctx)
	if err != nil {
		return Tokens{}, err
	}
	token, err := config.PasswordCredentialsToken(l.with(ctx), email, password)
	return tokens(email, token, err)
}

// ClientCredentials gets a token for the client itself (RFC 6749, section 4.4).
func (l Login) ClientCredentials(ctx context.Context) (Tokens, error) {
	if l.Client.Public {
		return Tokens{}, &GrantError{Client: l.Client.ID, Grant: "client-credentials", Needs: "a secret"}
	}
	c, err := l.config(ctx)
	if err != nil {
		return Tokens{}, err
	}
	config := clientcredentials.Config{
		ClientID: c.ClientID, ClientSecret: c.ClientSecret, TokenURL: c.Endpoint.TokenURL, Scopes: c.Scopes, AuthStyle: c.Endpoint.AuthStyle,
	}
	token, err := config.Token(l.with(ctx))
	return tokens("the client "+l.Client.ID, token, err)
}

// Refresh gets tokens for whoever logged in before (RFC 6749, section 6).
func (l Login) Refresh(ctx context.Context, refresh string) (Tokens, error) {
	config, err := l.config(ctx)
	if err != nil {
		return Tokens{}, err
	}
	token, err := config.TokenSource(l.with(ctx), &oauth2.Token{RefreshToken: refresh}).Token()
	return tokens("whoever logged in before", token, err)
}

// tokens reads an answer of the token endpoint.
func tokens(who string, token *oauth2.Token, err error) (Tokens, error) {
	var rejected *oauth2.RetrieveError
	if errors.As(err, &rejected) && rejected.ErrorCode != "" {
		return Tokens{}, &LoginError{Who: who, Code: rejected.ErrorCode, Description: rejected.ErrorDescription}
	}
	if err != nil {
		return Tokens{}, fmt.Errorf("could not ask the issuer for a token: %w", err)
	}
	id, _ := token.Extra("id_token").(string)
	if id == "" {
		return Tokens{}, errors.New("could not read the issuer's answer: it holds no id_token")
	}
	return Tokens{ID: id, Refresh: token.RefreshToken}, nil
}

// deviceCallback is the redirect URI of the device grant (github.com/dexidp/
// dex, server/deviceflowhandlers.go).
const deviceCallback = "/device/callback"

// CheckDevice says whether a client of Dex can be used for the device grant: nil,
// or a *GrantError.
func CheckDevice(c profiles.Client) error {
	named := slices.Contains(c.RedirectURIs, deviceCallback)
	if !named && (!c.Public || len(c.RedirectURIs) > 0) {
		return &GrantError{Client: c.ID, Grant: "device", Needs: `the redirect URI "` + deviceCallback + `"`}
	}
	return nil
}

// Device has the user log in on another device, at a URL and with a code
// (RFC 8628), which show is told.
func (l Login) Device(ctx context.Context, show func(url, code string)) (Tokens, error) {
	config, err := l.config(ctx)
	if err != nil {
		return Tokens{}, err
	}
	answer, err := config.DeviceAuth(l.with(ctx), oauth2.SetAuthURLParam("client_secret", l.Client.Secret))
	if err != nil {
		_, err = tokens("a device", nil, err)
		return Tokens{}, err
	}
	show(answer.VerificationURI, answer.UserCode)
	token, err := config.DeviceAccessToken(l.with(ctx), answer)
	return tokens("a device", token, err)
}

// GrantError says that a client cannot do what it is asked for.
type GrantError struct{ Client, Grant, Needs string }

func (e *GrantError) Error() string {
	return fmt.Sprintf("the client %q cannot be used for the grant %s: it needs %s", e.Client, e.Grant, e.Needs)
}

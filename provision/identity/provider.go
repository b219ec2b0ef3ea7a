package identity

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"golang.org/x/oauth2"
)

// Provider is an OpenID Connect provider, as its clients see it: everything but
// the issuer's URL comes from the discovery document (OpenID Connect Discovery
// 1.0, section 3), which is asked for once.
type Provider struct {
	Issuer string
	// HTTP reaches the issuer and trusts it.
	HTTP *http.Client

	known *discovered
}

type discovered struct {
	mu       sync.Mutex
	metadata *metadata
}

// metadata are the parts of a discovery document that a login needs.
type metadata struct {
	AuthorizationEndpoint       string   `json:"authorization_endpoint"`
	TokenEndpoint               string   `json:"token_endpoint"`
	DeviceAuthorizationEndpoint string   `json:"device_authorization_endpoint"`
	TokenAuthMethods            []string `json:"token_endpoint_auth_methods_supported"`
	Scopes                      []string `json:"scopes_supported"`
}

// NewProvider returns a provider; it asks nothing.
func NewProvider(issuer string, client *http.Client) *Provider {
	return &Provider{Issuer: issuer, HTTP: client, known: &discovered{}}
}

// Through is the same provider by another HTTP client.
func (p *Provider) Through(client *http.Client) *Provider {
	return &Provider{Issuer: p.Issuer, HTTP: client, known: p.known}
}

// Scopes are those of a list that the provider has; all where it does not say,
// or does not answer.
func (p *Provider) Scopes(ctx context.Context, wanted ...string) []string {
	m, err := p.discover(ctx)
	if err != nil {
		return wanted
	}
	return m.scopes(wanted...)
}

func (p *Provider) discover(ctx context.Context) (metadata, error) {
	p.known.mu.Lock()
	defer p.known.mu.Unlock()
	if p.known.metadata != nil {
		return *p.known.metadata, nil
	}
	provider, err := discover(ctx, p.HTTP, p.Issuer)
	if err != nil {
		return metadata{}, fmt.Errorf("could not read the discovery document of %s: %w", p.Issuer, err)
	}
	var m metadata
	if err := provider.Claims(&m); err != nil {
		return metadata{}, fmt.Errorf("could not read the discovery document of %s: %w", p.Issuer, err)
	}
	p.known.metadata = &m
	return m, nil
}

func (m metadata) endpoint(secret string) oauth2.Endpoint {
	style := oauth2.AuthStyleInHeader // the default (RFC 8414, section 2)
	// who has no secret does not authenticate, and must name itself (RFC 6749, 4.1.3)
	if secret == "" || len(m.TokenAuthMethods) > 0 && !slices.Contains(m.TokenAuthMethods, "client_secret_basic") {
		style = oauth2.AuthStyleInParams
	}
	return oauth2.Endpoint{AuthURL: m.AuthorizationEndpoint, TokenURL: m.TokenEndpoint, DeviceAuthURL: m.DeviceAuthorizationEndpoint, AuthStyle: style}
}

// scopes are those of a list that the provider has, and openid; all where it
// does not say.
func (m metadata) scopes(wanted ...string) []string {
	return slices.DeleteFunc(wanted, func(s string) bool {
		return s != "openid" && len(m.Scopes) > 0 && !slices.Contains(m.Scopes, s)
	})
}

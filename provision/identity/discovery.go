package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// Discover reads an issuer's discovery document and makes sure that it names
// this issuer (OpenID Connect Discovery 1.0, section 4.3).
func Discover(ctx context.Context, client *http.Client, issuer string) error {
	_, err := discover(ctx, client, issuer)
	return err
}

func discover(ctx context.Context, client *http.Client, issuer string) (*oidc.Provider, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, client), issuer)
	if err == nil {
		return provider, nil
	}
	if first, _, more := strings.Cut(err.Error(), "\n"); more { // the whole answer of whoever serves there
		return nil, errors.New(first)
	}
	return nil, err
}

// PublishedKeys are the ids of the keys that an issuer publishes at its
// jwks_uri (RFC 7517, section 5).
func PublishedKeys(ctx context.Context, client *http.Client, issuer string) ([]string, error) {
	provider, err := discover(ctx, client, issuer)
	if err != nil {
		return nil, err
	}
	var document struct {
		JWKSURI string `json:"jwks_uri"`
	}
	if err := provider.Claims(&document); err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, document.JWKSURI, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var set jose.JSONWebKeySet
	if err := json.NewDecoder(response.Body).Decode(&set); err != nil {
		return nil, fmt.Errorf("%s answers %s with no key set: %w", document.JWKSURI, response.Status, err)
	}
	var ids []string
	for _, key := range set.Keys {
		ids = append(ids, key.KeyID)
	}
	return ids, nil
}

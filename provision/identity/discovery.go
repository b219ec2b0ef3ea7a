package identity

import (
	"context"
	"net/http"

	"github.com/coreos/go-oidc/v3/oidc"
)

// Discover reads an issuer's discovery document and makes sure that it names
// this issuer (OpenID Connect Discovery 1.0, section 4.3).
func Discover(ctx context.Context, client *http.Client, issuer string) error {
	_, err := oidc.NewProvider(oidc.ClientContext(ctx, client), issuer)
	return err
}

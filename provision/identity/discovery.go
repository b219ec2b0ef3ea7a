package identity

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
)

// Discover reads an issuer's discovery document and makes sure that it names
// this issuer (OpenID Connect Discovery 1.0, section 4.3).
func Discover(ctx context.Context, client *http.Client, issuer string) error {
	_, err := oidc.NewProvider(oidc.ClientContext(ctx, client), issuer)
	if err == nil {
		return nil
	}
	if first, _, more := strings.Cut(err.Error(), "\n"); more { // the whole answer of whoever serves there
		return errors.New(first)
	}
	return err
}

package session

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/identity"
)

// byConnector logs a user in at another provider. devenv trusts it as Dex does:
// by this system's authorities and the files in the connector's rootCAs.
func byConnector(ctx context.Context, e *environment.Environment, login identity.Login, c profiles.Connector, email, password string) (identity.Tokens, error) {
	c, err := environment.Fill(e, c)
	if err != nil {
		return identity.Tokens{}, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	files := []string{e.CAFile()}
	if named, ok := c.Config["rootCAs"].([]any); ok {
		for _, file := range named {
			files = append(files, fmt.Sprint(file))
		}
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return identity.Tokens{}, fmt.Errorf("could not read who vouches for the connector %s: %w", c.ID, err)
		}
		pool.AppendCertsFromPEM(text)
	}
	transport := login.HTTP.Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.RootCAs = pool
	login.Provider = login.Through(&http.Client{Transport: transport, Timeout: login.HTTP.Timeout})
	return login.Connector(ctx, c.ID, email, password)
}

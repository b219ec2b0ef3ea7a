package steps

import (
	"context"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/connection"
	"github.com/devenv-oidc/devenv/provision/environment"
)

// Connect puts a kubeconfig for one cluster into a Secret of another; rotate
// asks for a new token even where the stored one is valid for long.
func Connect(ctx context.Context, e *environment.Environment, c profiles.Connection, rotate bool) (changed bool, err error) {
	from, err := e.Admin(c.From)
	if err != nil {
		return false, err
	}
	to, err := e.Admin(c.To)
	if err != nil {
		return false, err
	}
	filled, err := environment.Fill(e, c)
	if err != nil {
		return false, err
	}
	return connection.Ensure(ctx, from, connection.Connection{Connection: filled, Server: e.Server(c.To), CA: to.Config.CAData}, rotate)
}

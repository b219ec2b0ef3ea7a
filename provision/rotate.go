package provision

import (
	"context"
	"slices"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/state"
	"github.com/devenv-oidc/devenv/provision/steps"
)

// Rotate gives the kubeconfigs of connections new tokens: those that are named,
// or all. It returns their names. Tokens that were issued before stay valid
// until they expire.
func Rotate(ctx context.Context, home state.Home, name string, connections ...string) (rotated []string, err error) {
	unlock, err := lock(ctx, home, name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	e, err := Open(home, name)
	if err != nil {
		return nil, err
	}
	all := e.env.Spec().Connections
	for _, wanted := range connections {
		if !slices.ContainsFunc(all, func(c profiles.Connection) bool { return c.Name == wanted }) {
			return nil, failure.Newf(failure.Usage, "there is no connection %q in environment %q", wanted, name).
				Hint("see the profile's spec.connections: devenv status%s", record.NameFlag(name))
		}
	}
	for _, c := range all {
		if len(connections) > 0 && !slices.Contains(connections, c.Name) {
			continue
		}
		if _, err := steps.Connect(ctx, e.env, c, true); err != nil {
			return rotated, failure.New(failure.Provisioning, err, "see whether it runs: devenv status"+record.NameFlag(name))
		}
		rotated = append(rotated, c.Name)
	}
	return rotated, nil
}

package steps

import (
	"context"

	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/proofs"
)

// RotateKeys makes Dex sign with a new key, and proves what a rotation must be:
// every cluster accepts new tokens, and goes on to accept those that the earlier
// key signed. say is told what was seen.
func RotateKeys(ctx context.Context, e *environment.Environment, runtime Runtime, say func(format string, args ...any)) error {
	admin, err := e.Admin(e.First().Name)
	if err != nil {
		return err
	}
	held, err := proofs.Hold(ctx, e, runtime)
	if err != nil {
		return err
	}
	old, key, err := identity.RotateKeys(ctx, admin)
	if err != nil {
		return err
	}
	say("Dex signs with the key %s; %s signs nothing more and is still published", key, old)
	for _, c := range e.Spec().Clusters {
		restarted, err := WaitForToken(e, c, runtime)(ctx)
		if err != nil {
			return err
		}
		if restarted {
			say("the API server of cluster %s was restarted: it caches Dex's keys for ten minutes", c.Name)
		}
	}
	for _, h := range held {
		if err := h.StillAccepted(ctx); err != nil {
			return err
		}
	}
	say("every cluster accepts tokens of the new key, and those of the earlier one until they expire")
	return nil
}

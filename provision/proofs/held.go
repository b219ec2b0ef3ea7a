package proofs

import (
	"context"
	"fmt"

	"github.com/devenv-oidc/devenv/provision/check"
	"github.com/devenv-oidc/devenv/provision/environment"
)

// Held is a token that a cluster accepted, to be shown again later.
type Held struct {
	target *check.Cluster
	login  check.Login
}

// Hold logs a user in for each cluster that trusts Dex.
func Hold(ctx context.Context, e *environment.Environment, runtime Runtime) ([]Held, error) {
	s := &suite{e, runtime, Options{}}
	var list []Held
	for _, c := range e.Spec().Clusters {
		users := s.acceptedUsers(c)
		if len(users) == 0 {
			continue
		}
		target, err := s.target(c)
		if err != nil {
			return nil, err
		}
		login, err := s.patientLogin(ctx, c, users[0])
		if err == nil {
			err = target.Accepts(ctx, login)
		}
		if err != nil {
			return nil, fmt.Errorf("cluster %s did not accept a token before anything was changed: %w", c.Name, err)
		}
		list = append(list, Held{target, login})
	}
	return list, nil
}

// StillAccepted says whether the cluster accepts the token: nil, or why not.
func (h Held) StillAccepted(ctx context.Context) error {
	if err := h.target.Accepts(ctx, h.login); err != nil {
		return fmt.Errorf("cluster %s does not accept the earlier token of %s: %w", h.target.Name, h.login.Email, err)
	}
	return nil
}

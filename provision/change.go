package provision

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/plan"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/session"
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

// ChangeLogins changes the users and clients of an environment that runs: what
// edit has done can be used when ChangeLogins returns. The next Up goes back to
// the profile that it is given, or with NoPrune keeps what was added.
func ChangeLogins(ctx context.Context, home state.Home, name string, edit func(record.Logins) error) error {
	unlock, err := lock(ctx, home, name)
	if err != nil {
		return err
	}
	defer unlock()
	old, err := Open(home, name)
	if err != nil {
		return err
	}
	changed, err := old.env.Record.WithLogins(edit)
	if err != nil {
		return err
	}
	e := newEnvironment(home, changed)
	if err := e.runtime.Find(ctx); err != nil {
		return err
	}
	if err := e.env.Save(); err != nil { // first: a password that Dex knows alone would be lost
		return err
	}
	if err := e.runStep(ctx, "seed"); err != nil {
		err = failure.New(failure.Provisioning, fmt.Errorf("could not change Dex: %w", err), "see why: devenv doctor"+record.NameFlag(name))
		return errors.Join(err, old.env.Save())
	}
	return nil
}

// runStep runs one step of the plan; those that it needs were done before.
func (e *Environment) runStep(ctx context.Context, id string) error {
	steps := e.runtime.Plan()
	i := slices.IndexFunc(steps, func(s plan.Step) bool { return s.ID == id })
	if i < 0 {
		return fmt.Errorf("the plan has no step %q", id)
	}
	_, err := steps[i].Ensure(ctx)
	return err
}

// RotateKeys makes Dex sign with a new key, and proves that clusters accept both
// its tokens and those of the earlier one; say is told what was seen.
func RotateKeys(ctx context.Context, home state.Home, name string, say func(format string, args ...any)) error {
	unlock, err := lock(ctx, home, name)
	if err != nil {
		return err
	}
	defer unlock()
	e, err := Open(home, name)
	if err != nil {
		return err
	}
	if err := e.runtime.Find(ctx); err != nil {
		return err
	}
	if err := steps.RotateKeys(ctx, e.env, e.runtime, say); err != nil {
		return failure.New(failure.Provisioning, fmt.Errorf("could not rotate Dex's keys: %w", err), "see whether a login works: devenv doctor"+record.NameFlag(name))
	}
	return session.ForgetTokens(e.env)
}

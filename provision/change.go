package provision

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/plan"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/session"
	"github.com/devenv-oidc/devenv/provision/state"
	"github.com/devenv-oidc/devenv/provision/steps"
)

// opened runs a change on an environment that exists, with its lock held.
func opened(ctx context.Context, home state.Home, name string, change func(*Environment) error) error {
	unlock, err := lock(ctx, home, name)
	if err != nil {
		return err
	}
	defer unlock()
	e, err := Open(ctx, home, name)
	if err != nil {
		return err
	}
	return change(e)
}

// answers says whether Dex can be changed and asked: a change must not wait for
// one that does not run.
func (e *Environment) answers(ctx context.Context) error {
	if err := e.runtime.Find(ctx); err != nil {
		return err
	}
	if err := session.AskIssuer(ctx, e.env); err != nil {
		return e.notChanged(ctx, fmt.Errorf("the issuer does not answer: %w", err))
	}
	return nil
}

// ownIssuer says whether the issuer is devenv's to change: nil, or why not.
func (e *Environment) ownIssuer(consequence string) error {
	if !e.env.External() {
		return nil
	}
	return failure.Newf(failure.Usage, "somebody else runs the issuer of environment %q, so that %s", e.env.Name(), consequence).
		Hint("change them at %s, and spec.issuer in the profile", e.env.Issuer())
}

// notChanged gives the error of a change its class and a hint.
func (e *Environment) notChanged(ctx context.Context, err error) error {
	class := failure.Provisioning
	if errors.Is(ctx.Err(), context.Canceled) {
		class = failure.Interrupted
	}
	return failure.New(class, err, "see why: devenv doctor"+record.NameFlag(e.env.Name()))
}

// Rotate gives the kubeconfigs of connections new tokens: those that are named,
// or all. It returns their names. Tokens that were issued before stay valid
// until they expire.
func Rotate(ctx context.Context, home state.Home, name string, connections ...string) (rotated []string, err error) {
	err = opened(ctx, home, name, func(e *Environment) error {
		all := e.env.Spec().Connections
		for _, wanted := range connections {
			if !slices.ContainsFunc(all, func(c profiles.Connection) bool { return c.Name == wanted }) {
				return failure.Newf(failure.Usage, "there is no connection %q in environment %q", wanted, name).
					Hint("see the profile's spec.connections: devenv status%s", record.NameFlag(name)).
					Hint("or rotate what every environment has: devenv rotate keys%[1]s, devenv rotate certificates%[1]s", record.NameFlag(name))
			}
		}
		for _, c := range all {
			if len(connections) > 0 && !slices.Contains(connections, c.Name) {
				continue
			}
			if _, err := steps.Connect(ctx, e.env, c, true); err != nil {
				return failure.New(failure.Provisioning, err, "see whether it runs: devenv status"+record.NameFlag(name))
			}
			rotated = append(rotated, c.Name)
		}
		return nil
	})
	return rotated, err
}

// ChangeLogins changes the users and clients of an environment that runs: what
// edit has done can be used when ChangeLogins returns. The next Up goes back to
// the profile that it is given, or with NoPrune keeps what was added.
func ChangeLogins(ctx context.Context, home state.Home, name string, edit func(record.Logins) error) error {
	return opened(ctx, home, name, func(old *Environment) error {
		if err := old.ownIssuer("its users and clients cannot be changed from here"); err != nil {
			return err
		}
		changed, err := old.env.Record.WithLogins(edit)
		if err != nil {
			return err
		}
		if err := old.answers(ctx); err != nil {
			return err
		}
		e := newEnvironment(home, changed)
		if err := e.env.Save(); err != nil { // first: a password that Dex knows alone would be lost
			return err
		}
		if err := e.runStep(ctx, "seed"); err != nil {
			err = e.notChanged(ctx, fmt.Errorf("could not change Dex: %w", err))
			return errors.Join(err, old.env.Save())
		}
		return nil
	})
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
	return drilled(ctx, home, name, "keys", func(ctx context.Context, e *Environment) error {
		return errors.Join(steps.RotateKeys(ctx, e.env, e.runtime, say), session.ForgetTokens(e.env))
	})
}

// RotateCertificates renews Dex's serving certificate, and proves that logins
// and clusters go on as before; say is told what was seen.
func RotateCertificates(ctx context.Context, home state.Home, name string, say func(format string, args ...any)) error {
	return drilled(ctx, home, name, "certificate", func(ctx context.Context, e *Environment) error {
		return steps.RotateCertificates(ctx, e.env, e.runtime, e.runtime.RenewCertificate, say)
	})
}

// drillLimit is how long a drill takes at most: Dex looks every thirty seconds
// whether its key is old.
const drillLimit = 3 * time.Minute

// drilled rotates something of a Dex that answers.
func drilled(ctx context.Context, home state.Home, name, what string, rotate func(context.Context, *Environment) error) error {
	return opened(ctx, home, name, func(e *Environment) error {
		if err := e.ownIssuer("its " + what + " cannot be rotated from here"); err != nil {
			return err
		}
		if err := e.answers(ctx); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeoutCause(ctx, drillLimit, fmt.Errorf("the limit of %s was reached", drillLimit))
		defer cancel()
		if err := rotate(ctx, e); err != nil {
			return e.notChanged(ctx, fmt.Errorf("could not rotate Dex's %s: %w", what, err))
		}
		return nil
	})
}

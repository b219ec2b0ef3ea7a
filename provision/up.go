package provision

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/lifetime"
	"github.com/devenv-oidc/devenv/provision/plan"
	"github.com/devenv-oidc/devenv/provision/progress"
	"github.com/devenv-oidc/devenv/provision/session"
)

// Up makes an environment, or makes an existing one as the request says, and
// proves it.
func Up(ctx context.Context, r UpRequest) (*Environment, error) {
	e, err := lockedUp(ctx, r)
	return e, explainDisk(r.Home, err)
}

func lockedUp(ctx context.Context, r UpRequest) (*Environment, error) {
	if err := checkName(r.Name); err != nil {
		return nil, err
	}
	if r.Progress == nil {
		r.Progress = progress.Discard()
	}
	unlock, err := lock(ctx, r.Home, r.Name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if r.Timeout == 0 {
		r.Timeout = defaultTimeout
	}
	limited, cancel := context.WithTimeoutCause(ctx, r.Timeout, fmt.Errorf("the limit of %s was reached", r.Timeout))
	defer cancel()
	collectBeside(limited, r)
	return up(ctx, limited, r)
}

// up needs the lock to be held; limited is ctx with the limit.
func up(ctx, limited context.Context, r UpRequest) (*Environment, error) {
	e, err := prepare(ctx, r)
	if err != nil {
		return nil, err
	}
	limited, stop, err := e.live(limited, r.Reaper)
	if err != nil {
		return nil, err
	}
	defer stop()
	timings, err := plan.Run(limited, e.runtime.Plan(), r.Progress)
	if other, ok := e.fallback(ctx, err); ok {
		if err := e.clear(ctx); err != nil {
			return nil, err
		}
		r.note(withoutPods(stepsOwn(err)))
		r.Runtime = other.Name
		return up(ctx, limited, r)
	}
	if port := e.lostRace(err); port != 0 && !r.otherPorts {
		if err := e.clear(ctx); err != nil {
			return nil, err
		}
		r.note(fmt.Sprintf("somebody took port %d after it was chosen: choosing other ports", port))
		r.otherPorts = true
		return up(ctx, limited, r)
	}
	e.env.Record.Timings, e.env.Record.Ready = timings, err == nil
	if err != nil {
		return nil, e.failed(ctx, err)
	}
	if err := session.WriteUserKubeconfig(ctx, e.env, e.env.Record.Plugin); err != nil {
		return nil, err
	}
	return e, e.env.Save()
}

// lostRace is a port that devenv chose for a new environment and somebody else
// took before it was bound; 0 where that is not why.
func (e *Environment) lostRace(err error) int {
	var taken *failure.PortTakenError
	if !errors.As(err, &taken) || e.runtime.Made() || taken.Port == e.env.Spec().Dex.Port || !slices.Contains(e.env.Record.Ports(), taken.Port) {
		return 0
	}
	return taken.Port
}

// clear removes what there is of an environment that was never complete, to make
// it in another way; its lifetime stays.
func (e *Environment) clear(ctx context.Context) error {
	lives, err := lifetime.Read(e.env.Dir)
	if err != nil {
		return err
	}
	if _, err := e.remove(ctx); err != nil {
		return err
	}
	return lives.Write(e.env.Dir)
}

// stepsOwn is the error of the step that failed, without its title.
func stepsOwn(err error) error {
	var step *plan.Error
	if errors.As(err, &step) {
		return step.Err
	}
	return err
}

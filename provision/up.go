package provision

import (
	"context"
	"errors"
	"fmt"

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
		lives, readErr := lifetime.Read(e.env.Dir)
		if readErr != nil {
			return nil, readErr
		}
		if _, err := e.remove(ctx); err != nil {
			return nil, err
		}
		if err := lives.Write(e.env.Dir); err != nil {
			return nil, err
		}
		r.note(withoutPods(stepsOwn(err)))
		r.Runtime = other.Name
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

// stepsOwn is the error of the step that failed, without its title.
func stepsOwn(err error) error {
	var step *plan.Error
	if errors.As(err, &step) {
		return step.Err
	}
	return err
}

package provision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/cluster"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/progress"
	"github.com/devenv-oidc/devenv/provision/state"
)

// UpRequest asks for an environment.
type UpRequest struct {
	Home    state.Home
	Name    string
	Profile *profiles.Environment
	// Sources is the path of a sources file; empty for the official sources.
	Sources string
	// Recreate allows to delete and make anew what cannot be changed in place.
	Recreate bool
	// Timeout for everything together; 10 minutes when 0.
	Timeout  time.Duration
	Progress progress.Sink
}

const defaultTimeout = 10 * time.Minute

// Up makes an environment, or makes an existing one as the request says, and
// proves it.
func Up(ctx context.Context, r UpRequest) (*Environment, error) {
	if err := checkName(r.Name); err != nil {
		return nil, err
	}
	for _, c := range r.Profile.Spec.Clusters {
		if err := cluster.Supported(c.KubernetesVersion); err != nil {
			return nil, failure.New(failure.Usage, err)
		}
	}
	pins, err := profiles.PinnedWith(r.Sources)
	if err != nil {
		return nil, failure.New(failure.Usage, err)
	}
	unlock, err := lock(ctx, r.Home, r.Name)
	if err != nil {
		return nil, err
	}
	defer unlock()

	e, err := prepare(ctx, r)
	if err != nil {
		return nil, err
	}
	e.pins = pins
	if r.Timeout == 0 {
		r.Timeout = defaultTimeout
	}
	limited, cancel := context.WithTimeoutCause(ctx, r.Timeout, fmt.Errorf("the limit of %s was reached", r.Timeout))
	defer cancel()
	timings, err := run(limited, e.plan(), r.Progress)
	e.record.Timings, e.record.Ready = timings, err == nil
	if err != nil {
		return nil, e.failed(ctx, err)
	}
	if err := e.writeKubeconfig(); err != nil {
		return nil, err
	}
	return e, e.dir.Save(e.record)
}

func lock(ctx context.Context, home state.Home, name string) (unlock func(), err error) {
	unlock, err = home.Lock(ctx, name)
	var busy *state.BusyError
	if errors.As(err, &busy) {
		return nil, failure.New(failure.Prerequisite, err, "wait until it is done")
	}
	return unlock, err
}

// prepare resolves the profile and saves the record, before anything is made,
// so that whatever happens later can be taken down.
func prepare(ctx context.Context, r UpRequest) (*Environment, error) {
	dir := r.Home.Dir(r.Name)
	old, err := dir.Record()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, failure.New(failure.Usage, err, "take the environment away and make it anew: devenv down"+nameFlag(r.Name))
	}
	record, err := resolve(r.Name, r.Profile, old)
	if err != nil {
		return nil, err
	}
	if old != nil {
		if differences := fixedDifferences(old, record); len(differences) > 0 {
			if !r.Recreate {
				return nil, failure.Newf(failure.Usage, "environment %q exists, and this cannot be changed in it:\n  %s", r.Name, strings.Join(differences, "\n  ")).
					Hint("make it anew, its data will be lost: devenv up --recreate%s", nameFlag(r.Name))
			}
			if err := removeOld(ctx, r.Home, old); err != nil {
				return nil, err
			}
			if record, err = resolve(r.Name, r.Profile, nil); err != nil {
				return nil, err
			}
		}
	}
	e := newEnvironment(r.Home, record)
	return e, dir.Save(record)
}

// removeOld removes what cannot be changed in place; the lock is held.
func removeOld(ctx context.Context, home state.Home, old *state.Record) error {
	e := newEnvironment(home, old)
	_, err := e.remove(ctx)
	return err
}

// failed ends what is under way, keeps what helps to understand the failure,
// and says how to go on.
func (e *Environment) failed(ctx context.Context, err error) error {
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	abandoned := false
	for _, handle := range e.clusters {
		did, abandonErr := handle.Abandon(cleanup)
		err = errors.Join(err, abandonErr)
		abandoned = abandoned || did
	}
	saveErr := e.dir.Save(e.record)

	name := nameFlag(e.record.Name)
	var step *StepError
	if !errors.As(err, &step) {
		return errors.Join(err, saveErr)
	}
	again := "go on where it stopped: devenv up" + name
	if abandoned {
		again = "the half-made cluster was removed; start again: devenv up" + name
	}
	hints := []string{again, "or take it away: devenv down" + name}
	if ctx.Err() != nil {
		return failure.New(failure.Interrupted, fmt.Errorf("interrupted; not done: %s", strings.Join(step.Unfinished, ", ")), hints...)
	}
	var typed *failure.Error
	if errors.As(step.Err, &typed) {
		return errors.Join(failure.New(typed.Class, err), saveErr)
	}
	class := failure.Provisioning
	if step.Step.ID == "check" {
		class = failure.Refused
	}
	if logs := e.dir.Path("logs"); exists(logs) {
		hints = append(hints, "logs so far are in "+logs+"; for those of the cluster: devenv logs"+name)
	}
	return errors.Join(failure.New(class, err, hints...), saveErr)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

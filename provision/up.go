package provision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/authentication"
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
	// Arguments are those of the command line that name the profile, for hints:
	// " --profile klutch".
	Arguments string
	// Sources is the path of a sources file; empty for the official sources.
	Sources string
	// Runtime is auto, kind or process; empty for what the profile says. An
	// environment that exists stays where it is when it is auto.
	Runtime string
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
	return up(ctx, limited, r)
}

// up needs the lock to be held; limited is ctx with the limit.
func up(ctx, limited context.Context, r UpRequest) (*Environment, error) {
	e, err := prepare(ctx, r)
	if err != nil {
		return nil, err
	}
	timings, err := run(limited, e.runtime.plan(), r.Progress)
	if e.record.RuntimeChosen && e.kindFailed(err) && !e.runtime.everMade() && len(r.Profile.NeedsPods()) == 0 {
		// what could not be known before: it answers, and runs no nodes
		if _, err := e.remove(ctx); err != nil {
			return nil, err
		}
		var step *StepError
		if errors.As(err, &step) {
			err = step.Err
		}
		r.Progress.Emit(progress.Event{Time: time.Now(), State: progress.Note, Detail: withoutPods(err)})
		r.Runtime = profiles.RuntimeProcess
		return up(ctx, limited, r)
	}
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

// prepare checks everything that can be checked, resolves the profile and saves
// the record, all before anything is made: what is refused changes nothing, and
// whatever happens later can be taken down.
func prepare(ctx context.Context, r UpRequest) (*Environment, error) {
	dir := r.Home.Dir(r.Name)
	old, err := dir.Record()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, failure.New(failure.Usage, err, "take the environment away and make it anew: devenv down"+nameFlag(r.Name))
	}
	if old != nil && r.Sources == "" {
		r.Sources = old.Sources // an environment stays with its sources
	}
	pins, err := profiles.PinnedWith(r.Sources)
	if err != nil {
		return nil, failure.New(failure.Usage, err, "name another one in DEVENV_SOURCES; where registries answer, a new environment needs none")
	}
	runtime, note, err := settleRuntime(ctx, r, old)
	if err != nil {
		return nil, err
	}
	if err := checkVersions(r.Profile, pins, runtime); err != nil {
		return nil, err
	}
	record, err := resolve(r.Home, r.Name, runtime, r.Profile, old)
	if err != nil {
		return nil, err
	}
	if old != nil {
		if record, err = replaceFixed(ctx, r, old, record); err != nil {
			return nil, err
		}
	}
	if note != "" {
		r.Progress.Emit(progress.Event{Time: time.Now(), State: progress.Note, Detail: note})
	}
	record.Sources, record.Pins, record.RuntimeChosen, record.Arguments = r.Sources, pins, r.wantedRuntime() == profiles.RuntimeAuto, r.Arguments
	return newEnvironment(r.Home, record), dir.Save(record)
}

// checkVersions refuses versions of Kubernetes that cannot be made.
func checkVersions(profile *profiles.Environment, pins profiles.Pins, runtime string) error {
	if err := Validate(profile); err != nil {
		return err
	}
	for _, c := range profile.Spec.Clusters {
		if err := cluster.Supported(c.KubernetesVersion); err != nil {
			return failure.New(failure.Usage, err)
		}
		_, known := pins.NodeImages[c.KubernetesVersion]
		if runtime == profiles.RuntimeProcess && len(pins.Programs.Kubernetes[c.KubernetesVersion]) > 0 {
			known = true
		}
		if !known {
			return failure.Newf(failure.Usage, "no node image is pinned for Kubernetes %s", c.KubernetesVersion).
				Hint("known are: %s; a sources file (DEVENV_SOURCES) can name others", strings.Join(slices.Sorted(maps.Keys(pins.NodeImages)), ", "))
		}
	}
	return nil
}

// Validate finds the mistakes of a profile that package profiles cannot know of:
// what an API server would not read, CEL that does not compile among it. The
// error is a *profiles.InvalidError.
func Validate(profile *profiles.Environment) error {
	var mistakes []string
	for i, c := range profile.Spec.Clusters {
		if c.Trust.Configuration == nil {
			continue
		}
		for _, m := range authentication.Mistakes(c.Trust.Configuration, c.KubernetesVersion) {
			mistakes = append(mistakes, fmt.Sprintf("spec.clusters[%d].trust.configuration.%s", i, m))
		}
	}
	if len(mistakes) == 0 {
		return nil
	}
	return failure.New(failure.Usage, &profiles.InvalidError{Source: profile.Metadata.Name, Mistakes: mistakes})
}

// replaceFixed deals with what cannot be changed in place: it is an error, or
// with Recreate the old environment goes. Where no cluster was ever finished
// there is nothing to lose, so that what is left of it just goes.
func replaceFixed(ctx context.Context, r UpRequest, old, record *state.Record) (*state.Record, error) {
	differences := fixedDifferences(old, record)
	if len(differences) == 0 {
		return record, nil
	}
	e := newEnvironment(r.Home, old)
	if e.runtime.everMade() && !r.Recreate {
		return nil, failure.Newf(failure.Usage, "environment %q exists, and this cannot be changed in it:\n  %s", r.Name, strings.Join(differences, "\n  ")).
			Hint("make it anew, its data will be lost: devenv up --recreate%s%s", nameFlag(r.Name), r.Arguments).
			Hint("or go back to what it was: %s", e.upAgain())
	}
	if _, err := e.remove(ctx); err != nil {
		return nil, err
	}
	return resolve(r.Home, r.Name, record.Runtime, r.Profile, nil)
}

// failed ends what is under way, keeps what helps to understand the failure,
// and says how to go on.
func (e *Environment) failed(ctx context.Context, err error) error {
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	again := "go on where it stopped: " + e.upAgain()
	removed, problems := e.runtime.abandon(cleanup, ctx.Err() == nil)
	if removed {
		again = "the half-made cluster was removed; start again: " + e.upAgain()
	}
	problems = errors.Join(problems, e.dir.Save(e.record))

	hints := []string{again, "or take it away: devenv down" + nameFlag(e.record.Name)}
	var step *StepError
	if !errors.As(err, &step) {
		return errors.Join(err, problems)
	}
	if ctx.Err() != nil {
		return failure.New(failure.Interrupted, errors.Join(fmt.Errorf("interrupted; not done: %s", strings.Join(step.Unfinished, ", ")), problems), hints...)
	}
	class := failure.Provisioning
	var typed *failure.Error
	if errors.As(step.Err, &typed) {
		class, hints = typed.Class, append(slices.Clone(typed.Hints), hints...)
		step.Err = typed.Err
	}
	if e.record.RuntimeChosen && e.record.Runtime == profiles.RuntimeProcess && step.Step.ID == "programs" {
		if _, err := findEngine(cleanup, ""); err != nil {
			hints = append(hints, "or have a container engine: "+failure.HintsOf(err)[0])
		}
	}
	if limit, low := cluster.LowInotify(); low && class == failure.Provisioning && e.record.Runtime == profiles.RuntimeKind {
		hints = append(hints, fmt.Sprintf("several nodes at once need more inotify instances than this machine's %d: sudo sysctl fs.inotify.max_user_instances=512", limit))
	}
	if logs := e.dir.Path("logs"); class == failure.Provisioning && exists(logs) {
		hints = append(hints, "logs so far are in "+logs+"; for those of the cluster: devenv logs"+nameFlag(e.record.Name))
	}
	return failure.New(class, errors.Join(step, problems), hints...)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/authentication"
	"github.com/devenv-oidc/devenv/provision/cluster"
	"github.com/devenv-oidc/devenv/provision/diagnosis"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/record"
)

// prepare checks everything that can be checked, resolves the profile and saves
// the record, all before anything is made: what is rejected changes nothing, and
// whatever happens later can be taken down.
func prepare(ctx context.Context, r UpRequest) (*Environment, error) {
	old, err := record.Load(r.Home.Dir(r.Name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, failure.New(failure.Usage, err, "delete the environment and create it again: devenv down"+record.NameFlag(r.Name))
	}
	if old != nil && r.Sources == "" {
		r.Sources = old.Sources // an environment stays with its sources
	}
	pins, err := profiles.PinnedWith(r.Sources)
	if err != nil {
		return nil, failure.New(failure.Usage, err, "name another one in DEVENV_SOURCES; where registries answer, a new environment needs none")
	}
	runtime, note, err := chooseRuntime(ctx, r, old)
	if err != nil {
		return nil, err
	}
	if err := Validate(r.Profile); err != nil {
		return nil, err
	}
	lives, err := r.lifetime()
	if err != nil {
		return nil, err
	}
	if err := record.CheckVersions(r.Profile, pins, runtime.Runtime); err != nil {
		return nil, err
	}
	if old == nil {
		if err := clearTheWay(ctx, r, runtime); err != nil {
			return nil, err
		}
	}
	wanted, err := environment.Resolve(r.Home, r.Name, runtime.Runtime, r.Profile, old)
	if err != nil {
		return nil, err
	}
	if old != nil {
		if wanted, err = replaceFixed(ctx, r, runtime, old, wanted); err != nil {
			return nil, err
		}
	}
	r.note(note)
	wanted.Sources, wanted.Pins, wanted.Arguments = r.Sources, pins, r.Arguments
	wanted.RuntimeChosen = r.wantedRuntime() == profiles.RuntimeAuto
	if r.NoPrune && old != nil {
		wanted.KeepLogins(old)
	}
	wanted.Created, wanted.Plugin = time.Now().Round(time.Second), r.Plugin
	if old != nil {
		wanted.Created, wanted.Plugin = old.Created, cmp.Or(r.Plugin, old.Plugin)
	}
	e := newEnvironment(r.Home, wanted)
	e.env.NoPrune = r.NoPrune
	if err := lives.Write(e.env.Dir); err != nil { // first: it is over, too, if this is killed now
		return nil, err
	}
	return e, e.env.Save()
}

// clearTheWay sees that a new environment can be made: that the machine does not
// rule it out, and that nothing is left of one without a record. With Recreate
// that is deleted, which comes last.
func clearTheWay(ctx context.Context, r UpRequest, wanted registered) error {
	all, unknown := lost(ctx, r.Home)
	left := all[r.Name]
	if left == nil && unknown != nil && wanted.Name == profiles.RuntimeKind { // the other one has no use for an engine
		return unknown
	}
	if left != nil && !r.Recreate {
		return failure.New(failure.Usage, left,
			"replace them: devenv up --recreate"+record.NameFlag(r.Name)+r.Arguments,
			"or delete them: devenv down"+record.NameFlag(r.Name))
	}
	if detail, remedy := diagnosis.Obstacle(ctx, r.Home); detail != "" {
		return failure.Newf(failure.Prerequisite, "an environment cannot be made on this machine: %s", detail).
			Hint("%s", remedy).Hint("and look at the rest: devenv doctor")
	}
	if left == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	runtime := runtimeNamed(left.Runtime)
	_, err := runtime.open(environment.New(r.Home, &record.Record{Name: r.Name}, runtime.Runtime)).Remove(ctx)
	return err
}

// replaceFixed deals with what cannot be changed in place: it is an error. With
// Recreate the old environment is deleted in any case: there is also damage that
// nothing else heals. Where no cluster was ever
// completed there is nothing to lose, and what is left of it is just deleted.
func replaceFixed(ctx context.Context, r UpRequest, runtime registered, old, wanted *record.Record) (*record.Record, error) {
	differences := record.FixedDifferences(old, wanted, runtime.Runtime)
	e := newEnvironment(r.Home, old)
	made := e.runtime.Made()
	if len(differences) == 0 && !(made && r.Recreate) {
		return wanted, nil
	}
	if made && !r.Recreate {
		return nil, failure.Newf(failure.Usage, "environment %q exists, and this cannot be changed in it:\n  %s", r.Name, strings.Join(differences, "\n  ")).
			Hint("recreate it, its data will be lost: devenv up --recreate%s%s", record.NameFlag(r.Name), r.Arguments).
			Hint("or go back to what it was: %s", old.UpAgain())
	}
	if _, err := e.remove(ctx); err != nil {
		return nil, err
	}
	return environment.Resolve(r.Home, r.Name, runtime.Runtime, r.Profile, nil)
}

// Validate finds the mistakes of a profile that package profiles cannot know of:
// what an API server would not read, CEL that does not compile among it. The
// error is a *profiles.InvalidError.
func Validate(profile *profiles.Environment) error {
	var mistakes []string
	for i, c := range profile.Spec.Clusters {
		if err := cluster.OverlayMistake(c.Kind); err != nil {
			mistakes = append(mistakes, fmt.Sprintf("spec.clusters[%d].kind: %v", i, err))
		}
		if c.Trust.Configuration == nil {
			continue
		}
		configuration, err := profiles.FillAll(c.Trust.Configuration, profiles.StandIn)
		if err != nil {
			return err
		}
		for _, m := range authentication.Mistakes(configuration, c.KubernetesVersion) {
			mistakes = append(mistakes, fmt.Sprintf("spec.clusters[%d].trust.configuration.%s", i, m))
		}
	}
	if len(mistakes) == 0 {
		return nil
	}
	return failure.New(failure.Usage, &profiles.InvalidError{Source: profile.Metadata.Name, Mistakes: mistakes})
}

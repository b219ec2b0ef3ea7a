package provision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/authentication"
	"github.com/devenv-oidc/devenv/provision/drift"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/plan"
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
	if err := record.CheckVersions(r.Profile, pins, runtime.Runtime); err != nil {
		return nil, err
	}
	wanted, err := record.Resolve(r.Home, r.Name, runtime.Runtime, r.Profile, old)
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
	e := newEnvironment(r.Home, wanted)
	e.env.NoPrune = r.NoPrune
	return e, e.env.Save()
}

// replaceFixed deals with what cannot be changed in place: it is an error, or
// with Recreate the old environment is deleted. Where no cluster was ever
// completed there is nothing to lose, and what is left of it is just deleted.
func replaceFixed(ctx context.Context, r UpRequest, runtime registered, old, wanted *record.Record) (*record.Record, error) {
	differences := record.FixedDifferences(old, wanted, runtime.Runtime)
	if len(differences) == 0 {
		return wanted, nil
	}
	e := newEnvironment(r.Home, old)
	if e.runtime.Made() && !r.Recreate {
		return nil, failure.Newf(failure.Usage, "environment %q exists, and this cannot be changed in it:\n  %s", r.Name, strings.Join(differences, "\n  ")).
			Hint("recreate it, its data will be lost: devenv up --recreate%s%s", record.NameFlag(r.Name), r.Arguments).
			Hint("or go back to what it was: %s", old.UpAgain())
	}
	if _, err := e.remove(ctx); err != nil {
		return nil, err
	}
	return record.Resolve(r.Home, r.Name, runtime.Runtime, r.Profile, nil)
}

// Plan lists what Up would do for a request. It makes nothing.
func Plan(ctx context.Context, r UpRequest) ([]plan.Step, error) {
	e, _, err := planned(ctx, r)
	if err != nil {
		return nil, err
	}
	return e.runtime.Plan(), nil
}

// Difference is one between an environment and what is wanted of it.
type Difference = kube.Difference

// Drift asks an environment that exists what Up would change in it for a
// request; nothing where there is none yet. It changes nothing.
func Drift(ctx context.Context, r UpRequest) ([]Difference, error) {
	e, old, err := planned(ctx, r)
	if err != nil || old == nil || !newEnvironment(r.Home, old).runtime.Made() {
		return nil, err
	}
	if fixed := record.FixedDifferences(old, e.env.Record, e.env.Runtime); len(fixed) > 0 {
		var found []Difference
		for _, text := range fixed {
			field, change, _ := strings.Cut(text, ": ")
			have, want, _ := strings.Cut(change, " → ")
			found = append(found, Difference{Object: "environment " + r.Name, Field: field, Have: have, Want: want + ", which needs --recreate"})
		}
		return found, nil
	}
	return drift.Find(ctx, e.env, e.runtime)
}

// planned is the environment as a request wants it, and the record of the one
// that exists; nothing is written.
func planned(ctx context.Context, r UpRequest) (e *Environment, old *record.Record, err error) {
	if err := checkName(r.Name); err != nil {
		return nil, nil, err
	}
	old, err = record.Load(r.Home.Dir(r.Name))
	if err != nil {
		old = nil // none, or none that can be read: as for the first time
	}
	if err := Validate(r.Profile); err != nil {
		return nil, nil, err
	}
	runtime, _, err := chooseRuntime(ctx, r, old)
	if err != nil {
		return nil, nil, err
	}
	wanted, err := record.Resolve(r.Home, r.Name, runtime.Runtime, r.Profile, old)
	if err != nil {
		return nil, nil, err
	}
	if old != nil {
		wanted.Pins = old.Pins
	}
	return newEnvironment(r.Home, wanted), old, nil
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

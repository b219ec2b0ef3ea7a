package provision

import (
	"context"
	"strings"

	"github.com/devenv-oidc/devenv/provision/drift"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/plan"
	"github.com/devenv-oidc/devenv/provision/record"
)

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
	wanted, err := environment.Resolve(r.Home, r.Name, runtime.Runtime, r.Profile, old)
	if err != nil {
		return nil, nil, err
	}
	if old != nil {
		wanted.Pins = old.Pins
	}
	return newEnvironment(r.Home, wanted), old, nil
}

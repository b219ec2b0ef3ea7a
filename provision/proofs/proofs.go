// Package proofs is the list of what devenv proves about an environment. How
// each proof is made is in package check.
package proofs

import (
	"context"
	"errors"
	"fmt"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/check"
	"github.com/devenv-oidc/devenv/provision/environment"
)

// Runtime is what proofs need of whatever runs the environment.
type Runtime interface {
	// Find makes sure that what the runtime needs on this machine is available.
	Find(ctx context.Context) error
	// APIServerLog returns the last lines of a cluster's API server log, each
	// with its time in front (RFC 3339).
	APIServerLog(ctx context.Context, cluster string) (string, error)
	// APIServers are the URLs of a cluster's API servers where it has several; nil
	// where it has the one that its kubeconfig names.
	APIServers(ctx context.Context, cluster string) ([]string, error)
	// Kubectl runs the runtime's own kubectl where a cluster's nodes are: there,
	// API servers have the URLs of environment.Environment.Server.
	Kubectl(ctx context.Context, cluster string, kubeconfig []byte, args ...string) (string, error)
}

// proof is one entry of the list.
type proof = func() []check.Result

// suite makes the proofs of one environment.
type suite struct {
	*environment.Environment
	runtime Runtime
	options Options
}

// Check proves an environment. A proof that fails is in the report; the error
// is for what kept the check itself from being made. The caller holds the
// environment's lock where the profile has trials, which change bindings.
func Check(ctx context.Context, e *environment.Environment, runtime Runtime, options Options) (*check.Report, error) {
	if err := runtime.Find(ctx); err != nil {
		return nil, err
	}
	for _, c := range e.Spec().Clusters { // before trials change anything
		if _, err := e.Admin(c.Name); err != nil {
			return nil, err
		}
	}
	s := &suite{e, runtime, options}
	var list []proof
	var stopped []error // what stopped each part, nil for most
	add := func(make func() ([]check.Result, error)) {
		i := len(stopped)
		stopped = append(stopped, nil)
		list = append(list, func() (results []check.Result) {
			results, stopped[i] = make()
			return results
		})
	}
	if e.Runtime.Pods {
		add(func() ([]check.Result, error) { return s.workloads(ctx), nil })
		for _, c := range e.Spec().Clusters {
			if !e.External() { // how pods reach another provider is not devenv's
				add(func() ([]check.Result, error) { return s.issuerFromPod(ctx, c) })
			}
		}
	}
	for _, c := range e.Spec().Clusters {
		add(func() ([]check.Result, error) { return s.cluster(ctx, c) })
	}
	for _, b := range e.Spec().ServiceBindings {
		add(func() ([]check.Result, error) { return s.serviceBinding(ctx, b), nil })
	}
	for _, c := range e.Spec().Connections {
		add(func() ([]check.Result, error) { return s.connection(ctx, c) })
	}
	report := &check.Report{Results: check.Concurrently(list)}
	if err := errors.Join(append(stopped, ctx.Err())...); err != nil {
		return nil, err
	}
	return report, nil
}

// about says which cluster results are about, where it is not the first.
func (s *suite) about(c profiles.Cluster, results ...check.Result) []check.Result {
	if s.IsFirst(c) {
		return results
	}
	return prefixed(c.Name, results)
}

func prefixed(where string, results []check.Result) []check.Result {
	for i := range results {
		results[i].Name = fmt.Sprintf("%s: %s", where, results[i].Name)
	}
	return results
}

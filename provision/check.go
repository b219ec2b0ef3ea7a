package provision

import (
	"context"
	"slices"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/check"
	"github.com/devenv-oidc/devenv/provision/diagnosis"
	"github.com/devenv-oidc/devenv/provision/proofs"
	"github.com/devenv-oidc/devenv/provision/state"
	"github.com/devenv-oidc/devenv/provision/steps"
)

// Check proves the environment. A proof that fails is in the report; the error
// is for what kept the check itself from being made. Nobody else may work on an
// environment while trials change its bindings.
func (e *Environment) Check(ctx context.Context) (*check.Report, error) {
	if slices.ContainsFunc(e.env.Spec().Expectations, func(x profiles.Expectation) bool { return x.Trial != nil }) {
		unlock, err := lock(ctx, e.env.Home, e.env.Name())
		if err != nil {
			return nil, err
		}
		defer unlock()
	}
	return proofs.Check(ctx, e.env, e.runtime)
}

// CheckFailure gives a report's failures their class and hints; nil where there
// are none.
func (e *Environment) CheckFailure(report *check.Report) error {
	return steps.CheckFailure(e.env, report.Error())
}

// LoginRequest says whose login Diagnose follows; package diagnosis says more.
type LoginRequest = diagnosis.LoginRequest

// Diagnose follows a login hop by hop, from the machine to RBAC. It changes
// nothing.
func (e *Environment) Diagnose(ctx context.Context, r LoginRequest) *diagnosis.Report {
	return diagnosis.Login(ctx, e.env, e.runtime, r)
}

// KubeconfigLogin names a cluster that devenv need not know, for
// DiagnoseKubeconfig.
type KubeconfigLogin = diagnosis.KubeconfigRequest

// DiagnoseKubeconfig follows the login of a kubeconfig on any cluster. It reads
// only, and asks nothing of devenv's state.
func DiagnoseKubeconfig(ctx context.Context, r KubeconfigLogin) (*diagnosis.Report, error) {
	return diagnosis.Kubeconfig(ctx, r)
}

// DiagnoseMachine looks at what an environment needs before there is one;
// sources is the path of a sources file, or empty.
func DiagnoseMachine(ctx context.Context, home state.Home, sources string) (*diagnosis.Report, error) {
	pins, err := profiles.PinnedWith(sources)
	if err != nil {
		return nil, err
	}
	return diagnosis.Machine(ctx, home, pins), nil
}

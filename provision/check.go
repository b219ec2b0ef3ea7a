package provision

import (
	"context"
	"slices"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/check"
	"github.com/devenv-oidc/devenv/provision/diagnosis"
	"github.com/devenv-oidc/devenv/provision/proofs"
	"github.com/devenv-oidc/devenv/provision/report"
	"github.com/devenv-oidc/devenv/provision/state"
	"github.com/devenv-oidc/devenv/provision/steps"
)

// CheckOptions say what Check proves; the zero value is what Up does.
type CheckOptions = proofs.Options

// Check proves the environment. A proof that fails is in the report; the error
// is for what kept the check itself from being made. Nobody else may work on an
// environment while trials change its bindings.
func (e *Environment) Check(ctx context.Context, options CheckOptions) (*check.Report, error) {
	unlock, err := e.lockForTrials(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return proofs.Check(ctx, e.env, e.runtime, options)
}

// lockForTrials takes the lock where the profile has trials.
func (e *Environment) lockForTrials(ctx context.Context) (unlock func(), err error) {
	if !slices.ContainsFunc(e.env.Spec().Expectations, func(x profiles.Expectation) bool { return x.Trial != nil }) {
		return func() {}, nil
	}
	return lock(ctx, e.env.Home, e.env.Name())
}

// CheckFailure gives a report's failures their class and hints; nil where there
// are none.
func (e *Environment) CheckFailure(results *check.Report) error {
	return steps.CheckFailure(e.env, results.Error())
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

// Report writes all that is known of the environment, without secrets, to an
// archive that must not exist; devenv is the program's version. Report works on
// what is left of a broken environment, too.
func (e *Environment) Report(ctx context.Context, devenv, file string) error {
	unlock, err := e.lockForTrials(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return report.Write(ctx, e.env, e.runtime, devenv, file)
}

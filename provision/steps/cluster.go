package steps

import (
	"context"
	"errors"
	"fmt"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/access"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/plan"
	"github.com/devenv-oidc/devenv/provision/proofs"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/session"
)

// Cluster is what these steps need of a runtime's cluster. The suite in
// runtimetest says what else one must do.
type Cluster interface {
	Boot(ctx context.Context) (changed bool, err error)
	WaitForAPIServer(ctx context.Context) (kubeconfig []byte, err error)
	Finish(ctx context.Context) (changed bool, err error)
}

// Boot starts a cluster: its node, or where it has none its control plane. What
// was cached of tokens is forgotten: a new Dex has new keys.
func Boot(ctx context.Context, e *environment.Environment, cluster Cluster) (changed bool, err error) {
	changed, err = cluster.Boot(ctx)
	if changed {
		err = errors.Join(err, session.ForgetTokens(e))
	}
	return changed, err
}

// WaitForAPIServer waits for a cluster's API server, and not for what else its
// runtime still does to complete the cluster.
func WaitForAPIServer(ctx context.Context, e *environment.Environment, c profiles.Cluster, cluster Cluster) (changed bool, err error) {
	kubeconfig, err := cluster.WaitForAPIServer(ctx)
	if err != nil {
		return false, err
	}
	return e.WriteAdminKubeconfig(c.Name, kubeconfig)
}

// BindRoles applies the profile's namespaces, roles and bindings.
func BindRoles(e *environment.Environment, c profiles.Cluster) plan.Ensure {
	return func(ctx context.Context) (bool, error) {
		admin, err := e.Admin(c.Name)
		if err != nil {
			return false, err
		}
		return access.Ensure(ctx, admin, c.Access, c.PublicIssuer, e.NoPrune)
	}
}

// Runtime is what steps need of whatever runs the environment.
type Runtime interface {
	proofs.Runtime
	// RestartAPIServer restarts a cluster's API server; it does not wait until
	// that is ready again.
	RestartAPIServer(ctx context.Context, cluster string) error
}

// WaitForToken waits until a cluster accepts a token. An API server caches the
// issuer's keys for ten minutes: where Dex lost its own, and so signs with a new
// one, the API server is restarted.
func WaitForToken(e *environment.Environment, c profiles.Cluster, runtime Runtime) plan.Ensure {
	return func(ctx context.Context) (changed bool, err error) {
		err = proofs.FirstToken(ctx, e, runtime, c)
		var unknown *proofs.UnknownKeyError
		if !errors.As(err, &unknown) {
			return false, err
		}
		if err := runtime.RestartAPIServer(ctx, c.Name); err != nil {
			return false, err
		}
		return true, kube.Poll(ctx, "the restarted API server to accept a token", func(ctx context.Context) error {
			return proofs.FirstToken(ctx, e, runtime, c)
		})
	}
}

// ExplainPort gives the error of a port that is taken its class and hints; any
// other error stays as it is.
func ExplainPort(e *environment.Environment, err error) error {
	var taken *failure.PortTakenError
	if !errors.As(err, &taken) || taken.Port == 0 { // 0: the engine did not say which
		return err
	}
	port := taken.Port
	other := "or let devenv choose other ports: devenv down" + record.NameFlag(e.Name()) + " && " + e.Record.UpAgain()
	if port == e.Spec().Dex.Port {
		other = "or choose another one in the profile: spec.dex.port, 0 for any that is free"
	}
	return failure.New(failure.Prerequisite, err, fmt.Sprintf("see what listens there: ss -ltnp 'sport = :%d'", port), other)
}

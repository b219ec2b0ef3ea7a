package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/cluster"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/process"
	"github.com/devenv-oidc/devenv/provision/state"
	"github.com/devenv-oidc/devenv/provision/trust"
)

// Cluster is one cluster, there or not. Package cluster makes them with kind,
// package process out of plain processes; the suite in runtimetest says what
// both must do.
type Cluster interface {
	// Boot makes it run: a new one, one that was stopped, or, with nothing to
	// do, the one that runs. What an interrupted creation left is completed or
	// replaced. Its API server may still be on its way.
	Boot(ctx context.Context) (changed bool, err error)
	// WaitForAPIServer returns when the API server answers its administrator,
	// whose kubeconfig it returns.
	WaitForAPIServer(ctx context.Context) (kubeconfig []byte, err error)
	// Finish makes the cluster complete; changed says whether it had to do
	// anything for that.
	Finish(ctx context.Context) (changed bool, err error)
	// Complete says whether it was ever finished.
	Complete() bool
	// State says what there is of it: absent, incomplete, stopped, broken (a
	// part of it runs) or running.
	State(ctx context.Context) (string, error)
	// APIServerLog returns the last lines of the API server's log, each with
	// its time in front (RFC 3339).
	APIServerLog(ctx context.Context) (string, error)
	// CollectLogs writes all its logs to a folder.
	CollectLogs(folder string) error
	// Abandon ends a creation by this very handle and removes what it made, but
	// with keepFailed only if it is still under way.
	Abandon(ctx context.Context, keepFailed bool) (removed bool, err error)
	// Delete removes it, whatever there is of it.
	Delete(ctx context.Context) (changed bool, err error)
}

// runtime is where an environment's clusters and its issuer run: kindRuntime,
// in containers, or processRuntime.
type runtime interface {
	// plan is everything that `up` does.
	plan() []Step
	// find makes sure that what the runtime needs on this machine is there.
	find(ctx context.Context) error
	// cluster returns the handle of a cluster; find must have gone well.
	cluster(c profiles.Cluster) Cluster
	// everMade says whether a cluster was ever finished; it needs no find.
	everMade() bool
	// host is the name of something that the environment serves, and constraint
	// what its authority may sign for.
	host(of string) string
	constraint() trust.Constraint
	// server is the URL by which other clusters reach a cluster's API server.
	server(c profiles.Cluster) string
	// waitForIssuer asks until the issuer is there, or Dex has failed.
	waitForIssuer(ctx context.Context, ask func(context.Context) error) error
	// forwardDexAdmin opens a way to Dex's gRPC API, until stop is called.
	forwardDexAdmin(ctx context.Context) (address string, stop func(), err error)
	// kubectl runs the runtime's own kubectl where a cluster's nodes are: it
	// reaches API servers by what server says.
	kubectl(ctx context.Context, c profiles.Cluster, kubeconfig []byte, args ...string) (string, error)
	// podProofs are what the check proves from inside pods.
	podProofs(ctx context.Context) ([]proof, error)
	// processes says what there is of those that the runtime owns itself.
	processes() []ProcessStatus
	// abandon ends what is under way, as Cluster.Abandon does.
	abandon(ctx context.Context, keepFailed bool) (removed bool, err error)
	collectLogs(ctx context.Context, folder string) error
	// remove takes away everything but the files.
	remove(ctx context.Context) (changed bool, err error)
}

// chooseRuntime says where a new environment will run. Where the request leaves
// it open that is kind, if an engine answers; note then says in one line why it
// is not.
func chooseRuntime(ctx context.Context, r UpRequest) (runtime, note string, err error) {
	pods := r.Profile.NeedsPods()
	switch wanted := r.wantedRuntime(); wanted {
	case profiles.RuntimeKind:
		return wanted, "", nil
	case profiles.RuntimeProcess:
		if err := process.Supported(); err != nil {
			return "", "", failure.New(failure.Prerequisite, err, "with a container engine: devenv up --runtime kind"+nameFlag(r.Name))
		}
		if len(pods) > 0 {
			return "", "", failure.Newf(failure.Usage, "the profile %s needs pods, and plain processes have none: %s", r.Profile.Metadata.Name, strings.Join(pods, ", ")).
				Hint("with a container engine: devenv up --runtime kind%s", nameFlag(r.Name))
		}
		return wanted, "", nil
	}
	_, why := findEngine(ctx, "")
	switch {
	case why == nil:
		return profiles.RuntimeKind, "", nil
	case ctx.Err() != nil:
		return "", "", ctx.Err()
	case process.Supported() != nil:
		return "", "", why
	case len(pods) > 0:
		return "", "", failure.New(failure.ClassOf(why), fmt.Errorf("%w; and without pods there would be no %s", why, strings.Join(pods, ", ")), failure.HintsOf(why)...)
	}
	return profiles.RuntimeProcess, withoutPods(why), nil
}

// settleRuntime is where an environment runs: where it ran, unless the request
// says otherwise, or else where it will.
func settleRuntime(ctx context.Context, r UpRequest, old *state.Record) (runtime, note string, err error) {
	if old != nil && r.wantedRuntime() == profiles.RuntimeAuto {
		r.Runtime = old.Runtime
	}
	return chooseRuntime(ctx, r)
}

// withoutPods is the line that says what is missing and what that leaves out.
func withoutPods(why error) string {
	reason, _, _ := strings.Cut(why.Error(), "\n")
	return reason + ": using plain processes, which leaves out nodes, pods, charts and cert-manager"
}

func (r UpRequest) wantedRuntime() string {
	return cmp.Or(r.Runtime, r.Profile.Spec.Runtime)
}

// kindFailed says whether a plan ended because the engine, which answers, runs
// no nodes, or has none while the programs are at hand.
func (e *Environment) kindFailed(err error) bool {
	var unprivileged *cluster.UnprivilegedError
	var step *StepError
	version := e.first().KubernetesVersion
	noImage := errors.As(err, &step) && step.Step.ID == "node-image" && len(e.pins.Programs.Kubernetes[version]) > 0
	return (errors.As(err, &unprivileged) || noImage) && process.Supported() == nil
}

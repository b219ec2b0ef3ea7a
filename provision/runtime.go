package provision

import (
	"context"

	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/kindruntime"
	"github.com/devenv-oidc/devenv/provision/plan"
	"github.com/devenv-oidc/devenv/provision/process"
	"github.com/devenv-oidc/devenv/provision/processruntime"
	"github.com/devenv-oidc/devenv/provision/record"
)

// Runtime runs one environment: its clusters and its Dex. The suite in
// runtimetest says what every runtime must do.
type Runtime interface {
	// Plan is everything that `up` does.
	Plan() []plan.Step
	// Find makes sure that what the runtime needs on this machine is available.
	// The other methods but Plan and Made need it.
	Find(ctx context.Context) error
	// Made says whether a cluster was ever completed.
	Made() bool
	// State is that of a cluster: absent, incomplete, stopped, paused, broken (a
	// part of it runs) or running.
	State(ctx context.Context, cluster string) (string, error)
	// APIServerLog returns the last lines of a cluster's API server log, each
	// with its time in front (RFC 3339).
	APIServerLog(ctx context.Context, cluster string) (string, error)
	// APIServerFlags are the flags of a cluster's API server as it runs, and
	// those that devenv gave it; without dashes.
	APIServerFlags(ctx context.Context, cluster string) (have []string, want map[string]string, err error)
	// APIServers are the URLs of a cluster's API servers where it has several; nil
	// where it has the one that its kubeconfig names.
	APIServers(ctx context.Context, cluster string) ([]string, error)
	// RestartAPIServer restarts a cluster's API server; it does not wait until
	// that is ready again.
	RestartAPIServer(ctx context.Context, cluster string) error
	// RenewCertificate has Dex's serving certificate issued anew, long before it
	// expires; it does not wait until Dex serves it.
	RenewCertificate(ctx context.Context) error
	// Kubectl runs the runtime's own kubectl where a cluster's nodes are.
	Kubectl(ctx context.Context, cluster string, kubeconfig []byte, args ...string) (string, error)
	// Processes are those that the runtime itself owns.
	Processes() []process.Status
	// CollectLogs writes all logs to a folder.
	CollectLogs(ctx context.Context, folder string) error
	// Abandon stops what this very Runtime is creating and removes it. With
	// keepFailed a creation that has already failed stays, for its logs.
	Abandon(ctx context.Context, keepFailed bool) (removed bool, err error)
	// Remove deletes everything but the state folder, however much there is.
	Remove(ctx context.Context) (changed bool, err error)
}

// registered is a runtime that environments can have.
type registered struct {
	record.Runtime
	// available says whether this machine has what the runtime needs: nil, or an
	// error of class Prerequisite.
	available func(ctx context.Context) error
	open      func(*environment.Environment) Runtime
	// left lists the folders below a state folder that containers or processes
	// of this runtime were made from; none where nothing can run.
	left func(ctx context.Context, home string) ([]string, error)
}

// runtimes in the order in which `--runtime auto` tries them. Another one is a
// folder, and a line here.
var runtimes = []registered{
	{kindruntime.Traits, kindruntime.Available, func(e *environment.Environment) Runtime { return kindruntime.New(e) }, kindruntime.Left},
	{processruntime.Traits, processruntime.Available, func(e *environment.Environment) Runtime { return processruntime.New(e) }, processruntime.Left},
}

// Runtimes are the names of the runtimes that environments can have.
func Runtimes() []string {
	var names []string
	for _, r := range runtimes {
		names = append(names, r.Name)
	}
	return names
}

// runtimeNamed is the runtime of a record; the first for a name that this devenv
// does not know, so that what there is of it can still be deleted.
func runtimeNamed(name string) registered {
	for _, r := range runtimes {
		if r.Name == name {
			return r
		}
	}
	return runtimes[0]
}

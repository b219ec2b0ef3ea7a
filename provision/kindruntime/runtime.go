package kindruntime

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/cluster"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/process"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/steps"
	"github.com/devenv-oidc/devenv/provision/trust"
)

// Traits are what kind decides about records: names below the environment's
// own domain, and API servers whose flags cannot change.
var Traits = record.Runtime{
	Name: profiles.RuntimeKind,
	Pods: true,
	Has: func(pins profiles.Pins, version string) bool {
		_, pinned := pins.NodeImages[version]
		return pinned
	},
	Host:       func(environment, of string) string { return of + "." + domain(environment) },
	Constraint: func(environment string) trust.Constraint { return trust.Domain(domain(environment)) },
	// the node's name, which the engine's network resolves wherever the node is
	// after a restart
	Server: func(r *record.Record, c string) string {
		return "https://" + cluster.NodeName(kindName(r.Name, c)) + ":6443"
	},
}

func domain(environment string) string { return environment + ".localhost" }

// kindName is what kind calls a cluster of an environment.
func kindName(environment, cluster string) string { return "devenv-" + environment + "-" + cluster }

// Runtime is the clusters of one environment.
type Runtime struct {
	env    *environment.Environment
	engine *cluster.Engine // nil until Find

	applying sync.Mutex // of the issuer's Service

	mu      sync.Mutex
	handles map[string]*cluster.Cluster
}

// New returns the runtime of an environment; it touches nothing.
func New(e *environment.Environment) *Runtime {
	return &Runtime{env: e, handles: map[string]*cluster.Cluster{}}
}

// Available says whether a container engine answers: nil, or an error of class
// Prerequisite.
func Available(ctx context.Context) error {
	_, err := findEngine(ctx, "")
	return err
}

// leftLimit is how long Left waits for an engine: commands that need none ask.
const leftLimit = 10 * time.Second

// Left lists the folders below dir that nodes were made from; none where no
// engine runs. One that runs and does not answer in time is an error.
func Left(ctx context.Context, dir string) ([]string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, leftLimit, fmt.Errorf("no answer within %s", leftLimit))
	defer cancel()
	engine, err := findEngine(ctx, "")
	if ctx.Err() != nil {
		return nil, fmt.Errorf("could not find the container engine: %w", context.Cause(ctx))
	}
	if err != nil {
		return nil, nil
	}
	return engine.FoldersUnder(ctx, dir)
}

// Find finds the container engine, once: the one that the environment was made
// with, or the first that answers.
func (r *Runtime) Find(ctx context.Context) (err error) {
	if r.engine == nil {
		r.engine, err = findEngine(ctx, r.env.Record.Engine)
	}
	return err
}

func findEngine(ctx context.Context, command string) (*cluster.Engine, error) {
	engine, err := cluster.FindEngine(ctx, command)
	var silent *cluster.SilentEngineError
	switch {
	case errors.As(err, &silent):
		return nil, failure.New(failure.Prerequisite, err, "start it, for example: sudo systemctl start "+silent.Command, "then see whether it answers: "+silent.Command+" info")
	case errors.Is(err, cluster.ErrNoEngine):
		return nil, failure.New(failure.Prerequisite, err, "install one, for example Docker: https://docs.docker.com/engine/install/")
	}
	return engine, err
}

// handle is a cluster of the profile; Find must have succeeded.
func (r *Runtime) handle(c string) *cluster.Cluster {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.handles[c] == nil {
		r.handles[c] = cluster.New(r.engine, r.spec(c), r.env.Log("kind-"+c))
	}
	return r.handles[c]
}

// spec is a cluster of the profile in the cluster package's terms.
func (r *Runtime) spec(name string) cluster.Spec {
	e, c := r.env, *r.env.Record.Profile.Cluster(name)
	var ports []int
	var issuerPort int
	var aliases []string
	caFile := cluster.KubernetesPath("ca.crt")
	switch {
	case !e.External():
		aliases = []string{e.IssuerHost()}
		if e.IsFirst(c) {
			ports, issuerPort = []int{e.Record.IssuerPort}, e.Record.IssuerPort
		}
	case e.IssuerCAFile() == "":
		caFile = ""
	}
	for _, x := range e.Spec().Endpoints {
		if x.Cluster == c.Name {
			ports = append(ports, e.Record.EndpointPorts[x.Name])
		}
	}
	ports = append(ports, e.Record.SparePorts[c.Name]...)
	slices.Sort(ports) // whoever has a port at the moment, the node is the same
	return cluster.Spec{
		Name:              kindName(e.Name(), c.Name),
		Image:             cmp.Or(c.Image, e.Record.Pins.NodeImages[c.KubernetesVersion].Image),
		Nodes:             c.Nodes,
		KubernetesVersion: c.KubernetesVersion,
		APIPort:           e.Record.APIPorts[c.Name],
		Ports:             ports,
		IssuerPort:        issuerPort,
		Files:             e.Dir.Path(environment.NodeFile(c.Name)...),
		APIServerArgs:     steps.APIServerFlags(e, c, caFile, cluster.KubernetesPath(steps.AuthenticationFile)),
		HostAliases:       aliases,
		Kubeconfig:        e.KubeconfigFile(c.Name),
	}
}

// Made says whether any cluster was ever completed; it needs no engine.
func (r *Runtime) Made() bool {
	for _, c := range r.env.Spec().Clusters {
		if spec := r.spec(c.Name); spec.Complete() {
			return true
		}
	}
	return false
}

// State is that of a cluster: absent, incomplete, stopped, paused or running.
func (r *Runtime) State(ctx context.Context, c string) (string, error) {
	state, err := r.handle(c).State(ctx)
	return state, r.explain(err)
}

// APIServerLog implements proofs.Runtime.
func (r *Runtime) APIServerLog(ctx context.Context, c string) (string, error) {
	return r.handle(c).APIServerLog(ctx)
}

// APIServerFlags implements diagnosis.Runtime.
func (r *Runtime) APIServerFlags(ctx context.Context, c string) (have []string, want map[string]string, err error) {
	have, err = r.handle(c).APIServerFlags(ctx)
	return have, r.spec(c).APIServerArgs, err
}

// APIServers implements proofs.Runtime.
func (r *Runtime) APIServers(ctx context.Context, c string) ([]string, error) {
	return r.handle(c).APIServers(ctx)
}

// RestartAPIServer implements steps.Runtime.
func (r *Runtime) RestartAPIServer(ctx context.Context, c string) error {
	return r.handle(c).RestartAPIServer(ctx)
}

// Kubectl implements proofs.Runtime with the node's own kubectl.
func (r *Runtime) Kubectl(ctx context.Context, c string, kubeconfig []byte, args ...string) (string, error) {
	var out bytes.Buffer
	command := append([]string{"kubectl", "--kubeconfig=/dev/stdin"}, args...)
	err := r.handle(c).Exec(ctx, bytes.NewReader(kubeconfig), &out, command...)
	return out.String(), err
}

// Processes are the engine's own business.
func (r *Runtime) Processes() []process.Status { return nil }

// CollectLogs writes the logs of every node, and of everything on it, to a
// folder.
func (r *Runtime) CollectLogs(_ context.Context, folder string) error {
	for _, c := range r.env.Spec().Clusters {
		if err := r.handle(c.Name).CollectLogs(folder); err != nil {
			return err
		}
	}
	return nil
}

// Abandon ends a creation that is under way and removes what it made; with
// keepFailed what has failed stays, for its logs.
func (r *Runtime) Abandon(ctx context.Context, keepFailed bool) (removed bool, err error) {
	for _, handle := range r.handles {
		did, abandonErr := handle.Abandon(ctx, keepFailed)
		removed, err = removed || did, errors.Join(err, abandonErr)
	}
	return removed, err
}

// Remove deletes the environment's containers and their volumes.
func (r *Runtime) Remove(ctx context.Context) (changed bool, err error) {
	if err := r.Find(ctx); err != nil {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if r.env.Record.Engine == "" && errors.Is(err, cluster.ErrNoEngine) {
			return false, nil // there is none, and never was: no containers either
		}
		return false, failure.New(failure.Prerequisite, fmt.Errorf("could not remove the containers of environment %q: %w", r.env.Name(), err))
	}
	var clusters []string
	for _, c := range r.env.Spec().Clusters {
		clusters = append(clusters, kindName(r.env.Name(), c.Name))
	}
	names, err := r.engine.DeleteUnder(ctx, string(r.env.Dir), clusters...)
	return len(names) > 0, err
}

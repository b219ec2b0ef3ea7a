package processruntime

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/process"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/steps"
	"github.com/devenv-oidc/devenv/provision/trust"
)

// localhost is a name that every resolver knows. The processes have the host's
// resolver, and Debian's does not know names below localhost.
const localhost = "localhost"

// Traits are what plain processes decide about records: one name for
// everything, and API servers that can be restarted with other flags.
var Traits = record.Runtime{
	Name:         profiles.RuntimeProcess,
	FlagsInPlace: true,
	Has: func(pins profiles.Pins, version string) bool {
		_, pinned := pins.NodeImages[version]
		return pinned || len(pins.Programs.Kubernetes[version]) > 0
	},
	Host:       func(string, string) string { return localhost },
	Constraint: func(string) trust.Constraint { return trust.Host(localhost) },
	Server: func(r *record.Record, cluster string) string {
		return fmt.Sprintf("https://localhost:%d", r.APIPorts[cluster])
	},
	InternalPorts: internalPorts,
}

// DexAdminPort is the name of the port of Dex's gRPC API.
const DexAdminPort = "dex.grpc"

func etcdPort(cluster string) string     { return cluster + ".etcd" }
func etcdPeerPort(cluster string) string { return cluster + ".etcd-peer" }

func internalPorts(profile *profiles.Environment) []string {
	var names []string
	if profile.Spec.Issuer == nil {
		names = append(names, DexAdminPort)
	}
	for _, c := range profile.Spec.Clusters {
		names = append(names, etcdPort(c.Name), etcdPeerPort(c.Name))
	}
	return names
}

// internalPort is a port that another step may be changing.
func (r *Runtime) internalPort(name string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.env.Record.InternalPorts[name]
}

// Runtime is the processes of one environment.
type Runtime struct {
	env  *environment.Environment
	line *process.Line // holds the issuer's port until Dex can start

	finding sync.Mutex // one at a time looks for binaries

	mu      sync.Mutex
	files   map[string]string // binaries by name; nil until findPrograms
	handles map[string]*process.Cluster
}

// New returns the runtime of an environment; it touches nothing.
func New(e *environment.Environment) *Runtime {
	return &Runtime{env: e, handles: map[string]*process.Cluster{}}
}

// Available says whether processes can run here: nil, or an error of class
// Prerequisite.
func Available(context.Context) error {
	if err := process.Supported(); err != nil {
		return failure.New(failure.Prerequisite, err, "use a container engine: devenv up --runtime kind")
	}
	return nil
}

// Left lists the folders below dir that processes run from.
func Left(_ context.Context, dir string) ([]string, error) { return process.MarkedUnder(dir), nil }

// Find is Available.
func (r *Runtime) Find(ctx context.Context) error { return Available(ctx) }

// handle is a cluster of the profile.
func (r *Runtime) handle(name string) *process.Cluster {
	r.mu.Lock()
	defer r.mu.Unlock()
	if handle := r.handles[name]; handle != nil {
		return handle
	}
	e, c := r.env, *r.env.Record.Profile.Cluster(name)
	version := c.KubernetesVersion
	handle := process.New(process.ClusterSpec{
		Name: c.Name, Folder: string(e.Dir),
		Programs: process.Programs{
			Etcd: r.files[version+"/etcd"], APIServer: r.files[version+"/kube-apiserver"],
			ControllerManager: r.files[version+"/kube-controller-manager"],
		},
		APIPort:       e.Record.APIPorts[c.Name],
		EtcdPort:      e.Record.InternalPorts[etcdPort(c.Name)],
		EtcdPeerPort:  e.Record.InternalPorts[etcdPeerPort(c.Name)],
		APIServerArgs: r.apiServerFlags(c),
	})
	if r.files != nil { // else it can start nothing, and must not be stored
		r.handles[c.Name] = handle
	}
	return handle
}

func (r *Runtime) apiServerFlags(c profiles.Cluster) map[string]string {
	return steps.APIServerFlags(r.env, c, r.env.IssuerCAFile(), r.env.Dir.Path(environment.NodeFile(c.Name, steps.AuthenticationFile)...))
}

// program is the file of a binary, or "" before findPrograms.
func (r *Runtime) program(name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.files[name]
}

// Made says whether any cluster was ever completed.
func (r *Runtime) Made() bool {
	for _, c := range r.env.Spec().Clusters {
		if r.handle(c.Name).Complete() {
			return true
		}
	}
	return false
}

// State is that of a cluster: absent, incomplete, stopped, broken (some of its
// processes run) or running.
func (r *Runtime) State(ctx context.Context, c string) (string, error) { return r.handle(c).State(ctx) }

// APIServerLog implements proofs.Runtime.
func (r *Runtime) APIServerLog(ctx context.Context, c string) (string, error) {
	return r.handle(c).APIServerLog(ctx)
}

// APIServerFlags implements diagnosis.Runtime.
func (r *Runtime) APIServerFlags(ctx context.Context, c string) (have []string, want map[string]string, err error) {
	have, err = r.handle(c).APIServerFlags(ctx)
	return have, r.apiServerFlags(*r.env.Record.Profile.Cluster(c)), err
}

// APIServers implements proofs.Runtime: each cluster has one.
func (r *Runtime) APIServers(context.Context, string) ([]string, error) { return nil, nil }

// RestartAPIServer implements steps.Runtime.
func (r *Runtime) RestartAPIServer(ctx context.Context, c string) error {
	if _, err := r.findPrograms(ctx); err != nil { // before it ends one that it could not start again
		return err
	}
	return r.handle(c).RestartAPIServer(ctx)
}

// Kubectl implements proofs.Runtime with the kubectl of the cluster's version.
func (r *Runtime) Kubectl(ctx context.Context, c string, kubeconfig []byte, args ...string) (string, error) {
	if _, err := r.findPrograms(ctx); err != nil {
		return "", err
	}
	version := r.env.Record.Profile.Cluster(c).KubernetesVersion
	return kube.Kubectl(ctx, r.program(version+"/kubectl"), string(r.env.Dir), kubeconfig, args...)
}

// Processes are those of every cluster, and Dex.
func (r *Runtime) Processes() []process.Status {
	var list []process.Status
	for _, c := range r.env.Spec().Clusters {
		for _, p := range r.handle(c.Name).Processes() {
			list = append(list, p.Status())
		}
	}
	if r.env.External() {
		return list
	}
	return append(list, r.dex().Status())
}

// CollectLogs copies the logs of all processes to a folder.
func (r *Runtime) CollectLogs(_ context.Context, folder string) error {
	for _, c := range r.env.Spec().Clusters {
		if err := r.handle(c.Name).CollectLogs(folder); err != nil {
			return err
		}
	}
	if r.env.External() {
		return nil
	}
	return r.dex().CopyLog(folder)
}

// Abandon ends a creation that is under way and removes what it made; with
// keepFailed what has failed stays, for its logs.
func (r *Runtime) Abandon(ctx context.Context, keepFailed bool) (removed bool, err error) {
	if r.line != nil {
		r.line.Drop()
		r.line = nil
	}
	for _, handle := range r.handles {
		did, abandonErr := handle.Abandon(ctx, keepFailed)
		removed, err = removed || did, errors.Join(err, abandonErr)
	}
	if removed && !r.env.External() { // Dex's data was there, or it has nobody to serve
		_, stopErr := r.dex().Stop(ctx)
		err = errors.Join(err, stopErr)
	}
	return removed, err
}

// Remove ends every process of the environment, also those without a record.
func (r *Runtime) Remove(ctx context.Context) (changed bool, err error) {
	ended, err := process.StopAll(ctx, string(r.env.Dir))
	if err != nil {
		return len(ended) > 0, failure.New(failure.Provisioning, err, "try it again: devenv down"+record.NameFlag(r.env.Name()))
	}
	return len(ended) > 0, nil
}

package provision

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/process"
	"github.com/devenv-oidc/devenv/provision/trust"
)

// processRuntime runs control planes and Dex as plain processes of the user.
type processRuntime struct {
	*Environment
	line *process.Line // holds the issuer's port while Dex cannot start yet

	finding sync.Mutex // one at a time looks for programs

	mu      sync.Mutex
	files   map[string]string // programs by name; nil where none were looked for
	handles map[string]*process.Cluster
}

func newProcessRuntime(e *Environment) *processRuntime {
	return &processRuntime{Environment: e, handles: map[string]*process.Cluster{}}
}

// localhost is a name that every resolver knows: the processes have the host's,
// and that of a Debian does not know names below it.
const localhost = "localhost"

func (p *processRuntime) host(string) string { return localhost }

func (p *processRuntime) constraint() trust.Constraint { return trust.Host(localhost) }

func (p *processRuntime) find(context.Context) error { return process.Supported() }

func (p *processRuntime) cluster(c profiles.Cluster) Cluster { return p.handle(c) }

// handle is the cluster with what only one of processes has: certificates for
// users of one's own.
func (p *processRuntime) handle(c profiles.Cluster) *process.Cluster {
	p.mu.Lock()
	defer p.mu.Unlock()
	if handle := p.handles[c.Name]; handle != nil {
		return handle
	}
	version := c.KubernetesVersion
	handle := process.New(process.ClusterSpec{
		Name: c.Name, Folder: string(p.dir),
		Programs: process.Programs{
			Etcd: p.files[version+"/etcd"], APIServer: p.files[version+"/kube-apiserver"],
			ControllerManager: p.files[version+"/kube-controller-manager"],
		},
		APIPort:       p.record.APIPorts[c.Name],
		EtcdPort:      p.record.InternalPorts[etcdPort(c.Name)],
		EtcdPeerPort:  p.record.InternalPorts[etcdPeerPort(c.Name)],
		APIServerArgs: p.apiServerFlags(c, p.CAFile(), p.dir.Path("clusters", c.Name, "node", authenticationFile)),
	})
	if p.files != nil { // else it can start nothing, and must not be kept
		p.handles[c.Name] = handle
	}
	return handle
}

func (p *processRuntime) server(c profiles.Cluster) string {
	return fmt.Sprintf("https://localhost:%d", p.record.APIPorts[c.Name])
}

// The names of ports that nobody outside the environment needs.
const dexAdminPort = "dex.grpc"

func etcdPort(cluster string) string     { return cluster + ".etcd" }
func etcdPeerPort(cluster string) string { return cluster + ".etcd-peer" }

// internalPorts are the names of all of them.
func internalPorts(profile *profiles.Environment) []string {
	names := []string{dexAdminPort}
	for _, c := range profile.Spec.Clusters {
		names = append(names, etcdPort(c.Name), etcdPeerPort(c.Name))
	}
	return names
}

// program is a program's file, or "" where none was looked for.
func (p *processRuntime) program(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.files[name]
}

// dex is Dex's process.
func (p *processRuntime) dex() *process.Process {
	return &process.Process{
		Folder: string(p.dir), Name: identity.Program, Program: p.program(identity.Program),
		Args: []string{identity.Program, "serve", p.dexFile(identity.ConfigFile)},
	}
}

func (p *processRuntime) dexFile(name string) string { return p.dir.Path("dex", name) }

func (p *processRuntime) everMade() bool {
	for _, c := range p.record.Profile.Spec.Clusters {
		if p.cluster(c).Complete() {
			return true
		}
	}
	return false
}

func (p *processRuntime) waitForIssuer(ctx context.Context, ask func(context.Context) error) error {
	return p.dex().WaitFor(ctx, "the issuer "+p.Issuer(), ask)
}

func (p *processRuntime) forwardDexAdmin(context.Context) (address string, stop func(), err error) {
	return loopback(p.record.InternalPorts[dexAdminPort]), func() {}, nil
}

func (p *processRuntime) kubectl(ctx context.Context, c profiles.Cluster, kubeconfig []byte, args ...string) (string, error) {
	if _, err := p.ensurePrograms(ctx); err != nil {
		return "", err
	}
	return p.runKubectl(ctx, p.program(c.KubernetesVersion+"/kubectl"), kubeconfig, args...)
}

// podProofs has none to offer.
func (p *processRuntime) podProofs(context.Context) ([]proof, error) { return nil, nil }

func (p *processRuntime) processes() []ProcessStatus {
	var list []ProcessStatus
	for _, c := range p.record.Profile.Spec.Clusters {
		for _, owned := range p.handle(c).Processes() {
			list = append(list, processStatus(owned))
		}
	}
	return append(list, processStatus(p.dex()))
}

func processStatus(owned *process.Process) ProcessStatus {
	status := ProcessStatus{Name: owned.Name, Log: owned.Log(), State: "absent"}
	running, pid := owned.Running()
	switch {
	case running:
		status.State, status.PID = "running", pid
	case pid != 0:
		status.State, status.LastLines = "ended", owned.LastLines(5)
	}
	return status
}

func (p *processRuntime) abandon(ctx context.Context, keepFailed bool) (removed bool, err error) {
	if p.line != nil {
		p.line.Drop()
		p.line = nil
	}
	for _, handle := range p.handles {
		did, abandonErr := handle.Abandon(ctx, keepFailed)
		removed, err = removed || did, errors.Join(err, abandonErr)
	}
	if removed { // what Dex kept was there, or it has nobody to serve
		_, stopErr := p.dex().Stop(ctx)
		err = errors.Join(err, stopErr)
	}
	return removed, err
}

func (p *processRuntime) collectLogs(_ context.Context, folder string) error {
	for _, c := range p.record.Profile.Spec.Clusters {
		if err := p.cluster(c).CollectLogs(folder); err != nil {
			return err
		}
	}
	return p.dex().CopyLog(folder)
}

// remove has nothing to do: Environment.remove ends processes in any case.
func (p *processRuntime) remove(context.Context) (changed bool, err error) { return false, nil }

package provision

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/cluster"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/trust"
)

// kindRuntime runs clusters in containers, and Dex in the first of them.
type kindRuntime struct {
	*Environment
	engine *cluster.Engine // nil where none was looked for

	mu      sync.Mutex
	handles map[string]*cluster.Cluster
}

func newKindRuntime(e *Environment) *kindRuntime {
	return &kindRuntime{Environment: e, handles: map[string]*cluster.Cluster{}}
}

// domain is what the environment's authority may sign for.
func (k *kindRuntime) domain() string { return k.record.Name + ".localhost" }

func (k *kindRuntime) host(of string) string { return of + "." + k.domain() }

func (k *kindRuntime) constraint() trust.Constraint { return trust.Domain(k.domain()) }

// find makes the engine known, once.
func (k *kindRuntime) find(ctx context.Context) error {
	if k.engine != nil {
		return nil
	}
	engine, err := findEngine(ctx, k.record.Engine)
	k.engine = engine
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

func (k *kindRuntime) cluster(c profiles.Cluster) Cluster { return k.handle(c) }

// handle is the cluster with what only kind's have: images, and commands on its
// node.
func (k *kindRuntime) handle(c profiles.Cluster) *cluster.Cluster {
	k.mu.Lock()
	defer k.mu.Unlock()
	if handle := k.handles[c.Name]; handle != nil {
		return handle
	}
	handle := cluster.New(k.engine, k.spec(c), &lazyFile{path: k.LogFile("kind-" + c.Name)})
	k.handles[c.Name] = handle
	return handle
}

// spec is a cluster of the profile in the cluster package's terms.
func (k *kindRuntime) spec(c profiles.Cluster) cluster.Spec {
	var ports []int
	if c.Name == k.first().Name {
		ports = []int{k.record.IssuerPort}
	}
	for _, x := range k.record.Profile.Spec.Endpoints {
		if x.Cluster == c.Name {
			ports = append(ports, k.record.EndpointPorts[x.Name])
		}
	}
	return cluster.Spec{
		Name:              k.kindName(c),
		Image:             k.pins.NodeImages[c.KubernetesVersion].Image,
		KubernetesVersion: c.KubernetesVersion,
		APIPort:           k.record.APIPorts[c.Name],
		Ports:             ports,
		Files:             k.dir.Path("clusters", c.Name, "node"),
		APIServerArgs:     k.apiServerFlags(c, cluster.KubernetesPath("ca.crt"), cluster.KubernetesPath(authenticationFile)),
		HostAliases:       []string{k.issuerHost()},
		Kubeconfig:        k.KubeconfigFile(c.Name),
	}
}

func (k *kindRuntime) kindName(c profiles.Cluster) string {
	return "devenv-" + k.record.Name + "-" + c.Name
}

// server has the node's name, which the engine's network resolves wherever the
// node is after a restart.
func (k *kindRuntime) server(c profiles.Cluster) string {
	return "https://" + cluster.NodeName(k.kindName(c)) + ":6443"
}

func (k *kindRuntime) everMade() bool {
	for _, c := range k.record.Profile.Spec.Clusters {
		if spec := k.spec(c); spec.Complete() {
			return true
		}
	}
	return false
}

func (k *kindRuntime) waitForIssuer(ctx context.Context, ask func(context.Context) error) error {
	admin, err := k.admin(k.first().Name)
	if err != nil {
		return err
	}
	if err := admin.WaitAvailable(ctx, identity.Namespace, identity.Release); err != nil {
		return err
	}
	return kube.Poll(ctx, "the issuer "+k.Issuer(), ask)
}

func (k *kindRuntime) forwardDexAdmin(ctx context.Context) (address string, stop func(), err error) {
	admin, err := k.admin(k.first().Name)
	if err != nil {
		return "", nil, err
	}
	return identity.ForwardAdmin(ctx, admin)
}

// kubectl runs the node's own.
func (k *kindRuntime) kubectl(ctx context.Context, c profiles.Cluster, kubeconfig []byte, args ...string) (string, error) {
	var out bytes.Buffer
	command := append([]string{"kubectl", "--kubeconfig=/dev/stdin"}, args...)
	err := k.handle(c).Exec(ctx, bytes.NewReader(kubeconfig), &out, command...)
	return out.String(), err
}

// processes are the engine's own business.
func (k *kindRuntime) processes() []ProcessStatus { return nil }

func (k *kindRuntime) abandon(ctx context.Context, keepFailed bool) (removed bool, err error) {
	for _, handle := range k.handles {
		did, abandonErr := handle.Abandon(ctx, keepFailed)
		removed, err = removed || did, errors.Join(err, abandonErr)
	}
	return removed, err
}

func (k *kindRuntime) collectLogs(_ context.Context, folder string) error {
	for _, c := range k.record.Profile.Spec.Clusters {
		if err := k.cluster(c).CollectLogs(folder); err != nil {
			return err
		}
	}
	return nil
}

func (k *kindRuntime) remove(ctx context.Context) (changed bool, err error) {
	if err := k.find(ctx); err != nil {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if k.record.Engine == "" && errors.Is(err, cluster.ErrNoEngine) {
			return false, nil // there is none, and never was: no containers either
		}
		return false, failure.New(failure.Prerequisite, fmt.Errorf("could not remove the containers of environment %q: %w", k.record.Name, err))
	}
	names, err := k.engine.DeleteUnder(ctx, string(k.dir))
	return len(names) > 0, err
}

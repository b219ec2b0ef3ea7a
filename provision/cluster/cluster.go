// Package cluster makes Kubernetes clusters with kind, and is the only one
// that knows kind and the container engine.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"sigs.k8s.io/kind/pkg/cluster"
	"sigs.k8s.io/kind/pkg/cluster/nodes"

	"github.com/devenv-oidc/devenv/provision/kube"
)

// NotOursError says that a kind cluster of this name exists and does not belong
// to this environment: devenv did not make it, or did under another state
// folder.
type NotOursError struct {
	Name string
	// Files is the folder of the environment that it belongs to, below another
	// state folder; empty if devenv did not make it.
	Files string
}

func (e *NotOursError) Error() string {
	return fmt.Sprintf("there is a kind cluster %q that does not belong to this environment", e.Name)
}

// Cluster is one kind cluster, there or not.
type Cluster struct {
	engine   *Engine
	spec     Spec
	provider *cluster.Provider

	mu       sync.Mutex
	creation *creation // under way in this process, or nil
}

// New returns a handle; it touches nothing. What kind says goes to log.
func New(engine *Engine, spec Spec, log io.Writer) *Cluster {
	provider := map[string]cluster.ProviderOption{
		"docker":  cluster.ProviderWithDocker(),
		"podman":  cluster.ProviderWithPodman(),
		"nerdctl": cluster.ProviderWithNerdctl("nerdctl"),
	}[engine.Command]
	logger := cluster.ProviderWithLogger(fileLogger{mu: &sync.Mutex{}, w: log})
	return &Cluster{engine: engine, spec: spec, provider: cluster.NewProvider(provider, logger)}
}

// Boot makes the node container run: a new one, one that was stopped, or, with
// nothing to do, the one that runs. It returns when its containerd answers;
// Kubernetes may still be on its way. What an earlier, interrupted creation
// left is replaced.
func (c *Cluster) Boot(ctx context.Context) (changed bool, err error) {
	found, err := c.engine.containers(ctx, c.spec.Name)
	if err != nil {
		return false, err
	}
	running, unpaused := len(found) > 0, false
	gone := c.spec.containerNames()
	for _, f := range found {
		if !f.belongsTo(c.spec.Files) {
			return false, &NotOursError{Name: c.spec.Name, Files: f.Files}
		}
		running = running && f.Running
		gone = slices.DeleteFunc(gone, func(name string) bool { return name == f.Name })
		if f.Paused { // nothing on it would ever answer
			if _, err := c.engine.output(ctx, "unpause", f.Name); err != nil {
				return false, fmt.Errorf("could not unpause the node %s: %w", f.Name, err)
			}
			unpaused = true
		}
	}
	switch {
	case len(found) > 0 && len(gone) > 0 && (gone[0] != c.Node() || c.spec.Nodes.Several()) && c.spec.Complete():
		return unpaused, &GoneNodeError{Name: gone[0]}
	case running && len(gone) == 0 && c.spec.Complete():
		if err := c.checkAddresses(ctx); err != nil {
			return unpaused, err
		}
		return unpaused, c.waitForContainerd(ctx) // it may be just starting
	case len(found) > 0 && len(gone) == 0 && c.spec.Complete():
		for _, f := range c.byAddress(found) {
			if _, err := c.engine.output(ctx, "start", f.Name); err != nil {
				return false, fmt.Errorf("could not start the node %s: %w", f.Name, classifyPort(err))
			}
		}
		if err := c.checkAddresses(ctx); err != nil {
			return true, err
		}
		return true, c.waitForContainerd(ctx)
	case len(found) > 0:
		if err := c.provider.Delete(c.spec.Name, c.spec.Kubeconfig); err != nil {
			return false, fmt.Errorf("could not remove what was left of the cluster %q: %w", c.spec.Name, err)
		}
	}
	if err := c.create(); err != nil {
		return false, err
	}
	return true, c.waitForContainerd(ctx)
}

// poll asks until the answer is yes, the creation failed or the context ends.
func (c *Cluster) poll(ctx context.Context, what string, ask func(context.Context) error) error {
	var failed error
	err := kube.Poll(ctx, what, func(ctx context.Context) error {
		if failed = c.ended(ctx); failed != nil {
			return nil
		}
		return ask(ctx)
	})
	if failed != nil {
		return failed
	}
	return err
}

// Complete says whether the cluster was ever finished.
func (c *Cluster) Complete() bool { return c.spec.Complete() }

// Node is the name of the control plane's container.
func (c *Cluster) Node() string { return NodeName(c.spec.Name) }

// GoneNodeError says that a worker of a cluster does not exist any more. The
// cluster has what was stored in it, and cannot be given another node.
type GoneNodeError struct{ Name string }

func (e *GoneNodeError) Error() string { return "the node " + e.Name + " is gone" }

// nodeNames are the containers of the cluster, the control plane's first, as kind
// calls them (pkg/cluster/internal/providers/common, MakeNodeNamer).
func (s *Spec) nodeNames() []string {
	names := s.controlPlanes()
	names = append(names, numbered(s.Name+"-worker", s.Nodes.Workers)...)
	return names
}

// controlPlanes are the containers with an API server, as kind names them.
func (s *Spec) controlPlanes() []string {
	return numbered(NodeName(s.Name), max(1, s.Nodes.ControlPlanes))
}

// containerNames are all containers of the cluster: its nodes, and the load
// balancer that kind puts before several control planes.
func (s *Spec) containerNames() []string {
	if !s.Nodes.Several() {
		return s.nodeNames()
	}
	return append(s.nodeNames(), s.Name+"-"+loadBalancerRole)
}

func numbered(name string, count int) []string {
	var names []string
	for i := range count {
		if i > 0 {
			names = append(names, name+strconv.Itoa(i+1))
		} else {
			names = append(names, name)
		}
	}
	return names
}

// NodeName is the name of the control plane's container of a kind cluster, and
// its host name on the engine's network.
func NodeName(kindCluster string) string { return kindCluster + "-control-plane" }

func (c *Cluster) waitForContainerd(ctx context.Context) error {
	for _, node := range c.spec.nodeNames() {
		err := c.poll(ctx, "containerd in the node "+node, func(ctx context.Context) error {
			_, err := c.engine.output(ctx, "exec", node, "ctr", "version")
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Delete removes the cluster's containers and their volumes, if devenv made
// them. It may be called for a cluster that is half gone or not there.
func (c *Cluster) Delete(ctx context.Context) (changed bool, err error) {
	found, err := c.engine.containers(ctx, c.spec.Name)
	if err != nil {
		return false, err
	}
	for _, f := range found {
		if !f.belongsTo(c.spec.Files) {
			return false, &NotOursError{Name: c.spec.Name, Files: f.Files}
		}
	}
	for _, f := range found {
		if _, err := c.engine.output(ctx, "rm", "-f", "-v", f.Name); err != nil {
			return false, fmt.Errorf("could not remove the node %s: %w", f.Name, err)
		}
	}
	if err := os.Remove(c.spec.completePath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	return len(found) > 0, nil
}

// State says what there is of the cluster: "absent", "stopped", "paused",
// "incomplete", "broken" (a part of it runs) or "running".
func (c *Cluster) State(ctx context.Context) (string, error) {
	found, err := c.engine.containers(ctx, c.spec.Name)
	if err != nil {
		return "", err
	}
	switch {
	case len(found) == 0:
		return "absent", nil
	case !found[0].belongsTo(c.spec.Files):
		return "", &NotOursError{Name: c.spec.Name, Files: found[0].Files}
	case !c.spec.Complete():
		return "incomplete", nil
	}
	states := map[string]bool{}
	for _, f := range found {
		switch {
		case !f.Running:
			states["stopped"] = true
		case f.Paused:
			states["paused"] = true
		default:
			states["running"] = true
		}
	}
	if len(states) > 1 || len(found) < len(c.spec.containerNames()) {
		return "broken", nil
	}
	return slices.Collect(maps.Keys(states))[0], nil
}

// Exec runs a command on the node.
func (c *Cluster) Exec(ctx context.Context, in io.Reader, out io.Writer, command ...string) error {
	return c.engine.run(ctx, in, out, append([]string{"exec", "-i", c.Node()}, command...)...)
}

// CollectLogs writes the logs of the node and of everything on it to a folder.
func (c *Cluster) CollectLogs(folder string) error {
	if err := c.provider.CollectLogs(c.spec.Name, folder); err != nil {
		if _, statErr := os.Stat(filepath.Join(folder, c.Node())); statErr != nil {
			return fmt.Errorf("could not collect the logs of the cluster %q: %w", c.spec.Name, err)
		}
		// parts are missing, such as crictl's on a node that has none
	}
	return nil
}

// node returns kind's handle of a node.
func (c *Cluster) node(name string) (nodes.Node, error) {
	list, err := c.provider.ListNodes(c.spec.Name)
	if err != nil {
		return nil, err
	}
	for _, n := range list {
		if n.String() == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("the cluster %q has no node %s", c.spec.Name, name)
}

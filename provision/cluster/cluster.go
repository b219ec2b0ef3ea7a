// Package cluster makes Kubernetes clusters with kind, and is the only one
// that knows kind and the container engine.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
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
	for _, f := range found {
		if f.Files != c.spec.Files {
			return false, &NotOursError{Name: c.spec.Name, Files: f.Files}
		}
		running = running && f.Running
		if f.Paused { // nothing on it would ever answer
			if _, err := c.engine.output(ctx, "unpause", f.Name); err != nil {
				return false, fmt.Errorf("could not unpause the node %s: %w", f.Name, err)
			}
			unpaused = true
		}
	}
	switch {
	case running && c.spec.Complete():
		return unpaused, c.waitForContainerd(ctx) // it may be just starting
	case len(found) > 0 && c.spec.Complete():
		for _, f := range found {
			if _, err := c.engine.output(ctx, "start", f.Name); err != nil {
				return false, fmt.Errorf("could not start the node %s: %w", f.Name, classifyPort(err))
			}
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

// NodeName is the name of the control plane's container of a kind cluster, and
// its host name on the engine's network.
func NodeName(kindCluster string) string { return kindCluster + "-control-plane" }

func (c *Cluster) waitForContainerd(ctx context.Context) error {
	return c.poll(ctx, "containerd in the node "+c.Node(), func(ctx context.Context) error {
		_, err := c.engine.output(ctx, "exec", c.Node(), "ctr", "version")
		return err
	})
}

// Delete removes the cluster's containers and their volumes, if devenv made
// them. It may be called for a cluster that is half gone or not there.
func (c *Cluster) Delete(ctx context.Context) (changed bool, err error) {
	found, err := c.engine.containers(ctx, c.spec.Name)
	if err != nil {
		return false, err
	}
	for _, f := range found {
		if f.Files != c.spec.Files {
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
// "incomplete" or "running".
func (c *Cluster) State(ctx context.Context) (string, error) {
	found, err := c.engine.containers(ctx, c.spec.Name)
	if err != nil {
		return "", err
	}
	switch {
	case len(found) == 0:
		return "absent", nil
	case found[0].Files != c.spec.Files:
		return "", &NotOursError{Name: c.spec.Name, Files: found[0].Files}
	case !c.spec.Complete():
		return "incomplete", nil
	case !found[0].Running:
		return "stopped", nil
	case found[0].Paused:
		return "paused", nil
	}
	return "running", nil
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

// node returns kind's handle of the control plane.
func (c *Cluster) node() (nodes.Node, error) {
	list, err := c.provider.ListNodes(c.spec.Name)
	if err != nil {
		return nil, err
	}
	for _, n := range list {
		if n.String() == c.Node() {
			return n, nil
		}
	}
	return nil, fmt.Errorf("the cluster %q has no node %s", c.spec.Name, c.Node())
}

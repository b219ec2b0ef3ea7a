package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/kind/pkg/cluster"
	kindexec "sigs.k8s.io/kind/pkg/exec"

	"github.com/devenv-oidc/devenv/provision/failure"
)

// creation is a call of kind that cannot be cancelled.
type creation struct {
	done chan struct{}
	err  error // valid when done is closed
}

// create starts kind in the background.
func (c *Cluster) create() error {
	if err := os.Remove(c.spec.completePath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := c.spec.writeFiles(); err != nil {
		return err
	}
	config, err := c.spec.config()
	if err != nil {
		return err
	}
	if err := c.keepFromProxies(); err != nil {
		return err
	}
	running := &creation{done: make(chan struct{})}
	c.mu.Lock()
	c.creation = running
	c.mu.Unlock()
	go func() {
		defer close(running.done)
		running.err = c.provider.Create(c.spec.Name,
			cluster.CreateWithV1Alpha4Config(config),
			cluster.CreateWithKubeconfigPath(c.spec.Kubeconfig),
			cluster.CreateWithRetain(true), // for its logs; the next up replaces it
			cluster.CreateWithDisplayUsage(false),
			cluster.CreateWithDisplaySalutation(false),
		)
		if running.err == nil {
			running.err = c.recordAddresses(context.Background())
		}
		if running.err == nil {
			running.err = os.WriteFile(c.spec.completePath(), nil, 0o600)
		}
	}()
	return nil
}

// keepFromProxies adds the issuer's names to NO_PROXY: kind hands the proxy
// variables of its own process to the node, and kubeadm to the API server, which
// would ask the proxy for the issuer. Go exempts only localhost itself.
func (c *Cluster) keepFromProxies() error {
	if os.Getenv("HTTPS_PROXY")+os.Getenv("https_proxy")+os.Getenv("HTTP_PROXY")+os.Getenv("http_proxy") == "" {
		return nil
	}
	for _, variable := range []string{"NO_PROXY", "no_proxy"} {
		list := strings.Split(os.Getenv(variable), ",")
		for _, name := range append([]string{"localhost", "127.0.0.1", ".localhost"}, c.spec.HostAliases...) {
			if !slices.Contains(list, name) {
				list = append(list, name)
			}
		}
		if err := os.Setenv(variable, strings.TrimPrefix(strings.Join(list, ","), ",")); err != nil {
			return err
		}
	}
	return nil
}

// ended returns the creation's error once it has one.
func (c *Cluster) ended(ctx context.Context) error {
	c.mu.Lock()
	running := c.creation
	c.mu.Unlock()
	if running == nil {
		return nil
	}
	select {
	case <-running.done:
		return c.explain(ctx, running.err)
	default:
		return nil
	}
}

// explain says more about a failed creation than kind does: which port was
// taken, that privileged containers do not start, what the command printed.
func (c *Cluster) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	output := ""
	if run := kindexec.RunErrorForError(err); run != nil {
		output = string(run.Output)
	}
	full := fmt.Errorf("%w\n%s", err, lastLines(output, 12))
	if port := classifyPort(full); port != full {
		return port
	}
	if strings.Contains(output, "operation not permitted") || strings.Contains(output, "permission denied") {
		if err := c.engine.TryPrivileged(ctx, c.spec.Image); err != nil {
			return err
		}
	}
	return fmt.Errorf("could not create the cluster %q: %w", c.spec.Name, full)
}

// classifyPort turns an engine's words about a port into a *failure.PortTakenError.
func classifyPort(err error) error {
	text := err.Error()
	if !strings.Contains(text, "port is already allocated") && !strings.Contains(text, "address already in use") {
		return err
	}
	const marker = "127.0.0.1:"
	var port int
	if i := strings.LastIndex(text, marker); i >= 0 {
		_, _ = fmt.Sscanf(text[i+len(marker):], "%d", &port)
	}
	return &failure.PortTakenError{Port: port}
}

// Finish waits until kind is done, and makes sure that every flag arrived: one
// that kubeadm dropped would show only as rejected tokens much later.
func (c *Cluster) Finish(ctx context.Context) (changed bool, err error) {
	c.mu.Lock()
	running := c.creation
	c.mu.Unlock()
	if running != nil {
		select {
		case <-running.done:
			if err := c.explain(ctx, running.err); err != nil {
				return true, err
			}
		case <-ctx.Done():
			return true, fmt.Errorf("%w while kind was creating the cluster %q", context.Cause(ctx), c.spec.Name)
		}
	}
	return running != nil, c.assertFlags(ctx)
}

// Abandon ends a creation that is under way and removes what it made; removed
// says whether there was one. With keepFailed, a creation that failed by itself
// is left as it is, for its logs: the next Boot replaces it.
func (c *Cluster) Abandon(ctx context.Context, keepFailed bool) (removed bool, err error) {
	c.mu.Lock()
	running := c.creation
	c.mu.Unlock()
	if running == nil {
		return false, nil
	}
	select {
	case <-running.done:
		if running.err == nil || keepFailed {
			return false, nil
		}
	default:
	}
	for {
		// without its node the next thing kind does fails; the node may not be
		// there yet at the first look
		if _, err := c.Delete(ctx); err != nil {
			return false, err
		}
		select {
		case <-running.done:
			_, err := c.Delete(ctx)
			return err == nil, err
		case <-ctx.Done():
			return false, fmt.Errorf("could not end the creation of the cluster %q: %w", c.spec.Name, ctx.Err())
		case <-time.After(200 * time.Millisecond): // look again
		}
	}
}

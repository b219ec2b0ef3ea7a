// Package cluster makes Kubernetes clusters with kind, and is the only one
// that knows kind and the container engine.
package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/kind/pkg/cluster"
	"sigs.k8s.io/kind/pkg/cluster/nodes"
	kindexec "sigs.k8s.io/kind/pkg/exec"
	"sigs.k8s.io/yaml"
)

// pollInterval is short because an answer costs a millisecond and a late one
// delays everything that waits for the cluster.
const pollInterval = 200 * time.Millisecond

// NotOursError says that a kind cluster of this name exists and does not belong
// to this environment: devenv did not make it, or did under another state
// folder.
type NotOursError struct{ Name string }

func (e *NotOursError) Error() string {
	return fmt.Sprintf("there is a kind cluster %q that does not belong to this environment", e.Name)
}

// PortTakenError says that another program listens on a port.
type PortTakenError struct{ Port int }

func (e *PortTakenError) Error() string {
	return fmt.Sprintf("port %d on 127.0.0.1 is taken", e.Port)
}

// Cluster is one kind cluster, there or not.
type Cluster struct {
	engine   *Engine
	spec     Spec
	provider *cluster.Provider

	mu       sync.Mutex
	creation *creation // under way in this process, or nil
}

// creation is a call of kind that cannot be cancelled.
type creation struct {
	done chan struct{}
	err  error // valid when done is closed
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

// completePath holds the mark that the creation went through: kind leaves no
// trace of a half-made cluster that could be trusted.
func (c *Cluster) completePath() string { return filepath.Join(c.spec.Files, "complete") }

func (c *Cluster) complete() bool {
	_, err := os.Stat(c.completePath())
	return err == nil
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
	running := len(found) > 0
	for _, f := range found {
		if f.Files != c.spec.Files {
			return false, &NotOursError{Name: c.spec.Name}
		}
		running = running && f.Running
	}
	switch {
	case running && c.complete():
		return false, nil
	case len(found) > 0 && c.complete():
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

// create starts kind in the background.
func (c *Cluster) create() error {
	if err := os.Remove(c.completePath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := c.spec.writeFiles(); err != nil {
		return err
	}
	config, err := c.spec.config()
	if err != nil {
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
			running.err = os.WriteFile(c.completePath(), nil, 0o600)
		}
	}()
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
		if err := c.engine.tryPrivileged(ctx, c.spec.Image); err != nil {
			return err
		}
	}
	return fmt.Errorf("could not create the cluster %q: %w", c.spec.Name, full)
}

// classifyPort turns an engine's words about a port into a *PortTakenError.
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
	return &PortTakenError{Port: port}
}

// poll asks until the answer is yes, the creation failed or the context ends;
// then the error says what was waited for, and the last reason.
func (c *Cluster) poll(ctx context.Context, what string, ask func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		if err := c.ended(ctx); err != nil {
			return false, err
		}
		last = ask(ctx)
		return last == nil, nil
	})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w while waiting for %s: %w", context.Cause(ctx), what, errors.Join(last))
	}
	return err
}

// Node is the name of the control plane's container.
func (c *Cluster) Node() string { return c.spec.Name + "-control-plane" }

func (c *Cluster) waitForContainerd(ctx context.Context) error {
	return c.poll(ctx, "containerd in the node "+c.Node(), func(ctx context.Context) error {
		_, err := c.engine.output(ctx, "exec", c.Node(), "ctr", "version")
		return err
	})
}

// WaitForAPIServer returns when the API server is ready, with the
// administrator's kubeconfig for the host.
func (c *Cluster) WaitForAPIServer(ctx context.Context) ([]byte, error) {
	client := &http.Client{
		Timeout: 2 * time.Second,
		// only asked whether it is there: its CA comes with the kubeconfig
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
	}
	address := fmt.Sprintf("https://127.0.0.1:%d/readyz", c.spec.APIPort)
	err := c.poll(ctx, "the API server on "+address, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	kubeconfig, err := c.provider.KubeConfig(c.spec.Name, false)
	if err != nil {
		return nil, fmt.Errorf("could not read the kubeconfig of the cluster %q: %w", c.spec.Name, err)
	}
	return []byte(kubeconfig), nil
}

// Finish waits until kind is done, and makes sure that every flag arrived: one
// that kubeadm dropped would show only as refused tokens much later.
func (c *Cluster) Finish(ctx context.Context) error {
	c.mu.Lock()
	running := c.creation
	c.mu.Unlock()
	if running != nil {
		select {
		case <-running.done:
			if err := c.explain(ctx, running.err); err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("%w while kind was creating the cluster %q", context.Cause(ctx), c.spec.Name)
		}
	}
	return c.assertFlags(ctx)
}

func (c *Cluster) assertFlags(ctx context.Context) error {
	const manifest = "/etc/kubernetes/manifests/kube-apiserver.yaml"
	text, err := c.engine.output(ctx, "exec", c.Node(), "cat", manifest)
	if err != nil {
		return fmt.Errorf("could not read %s on the node %s: %w", manifest, c.Node(), err)
	}
	var pod struct {
		Spec struct {
			Containers []struct{ Command []string }
		}
	}
	if err := yaml.Unmarshal([]byte(text), &pod); err != nil || len(pod.Spec.Containers) == 0 {
		return fmt.Errorf("could not read %s on the node %s: %w", manifest, c.Node(), err)
	}
	return missingFlags(c.spec.APIServerArgs, pod.Spec.Containers[0].Command)
}

// missingFlags names the flags that a command line lacks.
func missingFlags(want map[string]string, command []string) error {
	have := map[string]bool{}
	for _, argument := range command {
		have[argument] = true
	}
	var missing []string
	for name, value := range want {
		if flag := "--" + name + "=" + value; !have[flag] {
			missing = append(missing, flag)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("the API server runs without %s", strings.Join(missing, " "))
	}
	return nil
}

// Abandon ends a creation that is under way and removes what it made; did says
// whether there was one.
func (c *Cluster) Abandon(ctx context.Context) (did bool, err error) {
	c.mu.Lock()
	running := c.creation
	c.mu.Unlock()
	if running == nil {
		return false, nil
	}
	for {
		select {
		case <-running.done:
			if running.err == nil {
				return false, nil // it was faster
			}
			_, err := c.Delete(ctx)
			return true, err
		case <-ctx.Done():
			return true, fmt.Errorf("could not end the creation of the cluster %q: %w", c.spec.Name, ctx.Err())
		case <-time.After(pollInterval):
			// without its node the next thing kind does fails; the node may
			// not have been there at the first look
			if _, err := c.Delete(ctx); err != nil {
				return true, err
			}
		}
	}
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
			return false, &NotOursError{Name: c.spec.Name}
		}
	}
	for _, f := range found {
		if _, err := c.engine.output(ctx, "rm", "-f", "-v", f.Name); err != nil {
			return false, fmt.Errorf("could not remove the node %s: %w", f.Name, err)
		}
	}
	return len(found) > 0, nil
}

// State says what there is of the cluster: "absent", "stopped", "incomplete"
// or "running".
func (c *Cluster) State(ctx context.Context) (string, error) {
	found, err := c.engine.containers(ctx, c.spec.Name)
	if err != nil {
		return "", err
	}
	switch {
	case len(found) == 0:
		return "absent", nil
	case found[0].Files != c.spec.Files:
		return "", &NotOursError{Name: c.spec.Name}
	case !c.complete():
		return "incomplete", nil
	case !found[0].Running:
		return "stopped", nil
	}
	return "running", nil
}

// Exec runs a command on the node.
func (c *Cluster) Exec(ctx context.Context, in io.Reader, out io.Writer, command ...string) error {
	return c.engine.run(ctx, in, out, append([]string{"exec", "-i", c.Node()}, command...)...)
}

// APIServerLog returns the last lines of the API server's log, each with its
// time in front (RFC 3339), as the CRI writes them.
func (c *Cluster) APIServerLog(ctx context.Context) (string, error) {
	log, err := c.engine.output(ctx, "exec", c.Node(), "sh", "-c",
		"tail -q -n 2000 /var/log/pods/kube-system_kube-apiserver-*/kube-apiserver/*.log")
	if err != nil {
		return "", fmt.Errorf("could not read the API server's log: %w", err)
	}
	return log, nil
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

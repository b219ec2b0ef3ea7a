package cluster

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/devenv-oidc/devenv/provision/kube"
)

// WaitForAPIServer returns when the API server is ready, with the
// administrator's kubeconfig for the host.
func (c *Cluster) WaitForAPIServer(ctx context.Context) ([]byte, error) {
	client := &http.Client{
		Timeout: 2 * time.Second,
		// only asked whether it is ready: its CA comes with the kubeconfig
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
	}
	address := fmt.Sprintf("https://127.0.0.1:%d/readyz", c.spec.APIPort)
	err := c.poll(ctx, "the API server on "+address, func(ctx context.Context) error {
		return kube.Answers(ctx, client, address)
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

func (c *Cluster) assertFlags(ctx context.Context) error {
	for _, node := range c.spec.controlPlanes() {
		if err := c.assertFlagsOn(ctx, node); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) assertFlagsOn(ctx context.Context, node string) error {
	const manifest = "/etc/kubernetes/manifests/kube-apiserver.yaml"
	text, err := c.engine.output(ctx, "exec", node, "cat", manifest)
	if err != nil {
		return fmt.Errorf("could not read %s on the node %s: %w", manifest, node, err)
	}
	var pod struct {
		Spec struct {
			Containers []struct{ Command []string }
		}
	}
	if err := yaml.Unmarshal([]byte(text), &pod); err != nil || len(pod.Spec.Containers) == 0 {
		return fmt.Errorf("could not read %s on the node %s: %w", manifest, node, err)
	}
	return missingFlags(c.spec.APIServerArgs, pod.Spec.Containers[0].Command)
}

// MissingFlagsError says that the API server's static pod was changed, or that
// kubeadm dropped a patch.
type MissingFlagsError struct{ Flags []string }

func (e *MissingFlagsError) Error() string {
	return "the API server runs without " + strings.Join(e.Flags, " ")
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
		return &MissingFlagsError{Flags: missing}
	}
	return nil
}

// APIServerFlags are the flags of the API server as it runs, read from the
// node's process list, without dashes: of several, those that all have.
func (c *Cluster) APIServerFlags(ctx context.Context) (flags []string, err error) {
	for i, node := range c.spec.controlPlanes() {
		theirs, err := c.apiServerFlagsOn(ctx, node)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			flags = theirs
		}
		flags = slices.DeleteFunc(flags, func(flag string) bool { return !slices.Contains(theirs, flag) })
	}
	return flags, nil
}

func (c *Cluster) apiServerFlagsOn(ctx context.Context, node string) ([]string, error) {
	const find = `for f in /proc/[0-9]*/cmdline; do if tr '\0' '\n' < "$f" 2>/dev/null | head -n 1 | grep -q '^kube-apiserver$'; then tr '\0' '\n' < "$f"; exit; fi; done; exit 1`
	text, err := c.engine.output(ctx, "exec", node, "sh", "-c", find)
	if err != nil {
		return nil, fmt.Errorf("could not find the API server among the processes of the node %s: %w", node, err)
	}
	var flags []string
	for _, argument := range strings.Split(text, "\n")[1:] {
		flags = append(flags, strings.TrimPrefix(argument, "--"))
	}
	return flags, nil
}

// RestartAPIServer kills the API server; kubelet starts it again. Asked to end, it
// would wait a minute for those who watch.
func (c *Cluster) RestartAPIServer(ctx context.Context) error {
	const kill = `for f in /proc/[0-9]*/cmdline; do if tr '\0' '\n' < "$f" 2>/dev/null | head -n 1 | grep -q '^kube-apiserver$'; then f="${f#/proc/}"; kill -9 "${f%/cmdline}"; fi; done`
	for _, node := range c.spec.controlPlanes() {
		if _, err := c.engine.output(ctx, "exec", node, "sh", "-c", kill); err != nil {
			return fmt.Errorf("could not restart the API server of the node %s: %w", node, err)
		}
	}
	return nil
}

// APIServerLog returns the last lines of the API server's log, each with its
// time in front (RFC 3339), as the CRI writes them; of several, one after the
// other.
func (c *Cluster) APIServerLog(ctx context.Context) (string, error) {
	var logs []string
	for _, node := range c.spec.controlPlanes() {
		log, err := c.engine.output(ctx, "exec", node, "sh", "-c",
			"tail -q -n 2000 /var/log/pods/kube-system_kube-apiserver-*/kube-apiserver/*.log")
		if err != nil {
			return "", fmt.Errorf("could not read the API server's log: %w", err)
		}
		logs = append(logs, log)
	}
	return strings.Join(logs, "\n"), nil
}

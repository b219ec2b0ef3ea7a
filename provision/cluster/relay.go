package cluster

import (
	"context"
	"fmt"
	"strings"
)

// Relay makes a port on the node's loopback lead to the same port of another
// node, by its name: its address is another after a restart. systemd listens,
// from the node's start on, and looks the name up for every connection
// (systemd-socket-proxyd(8)).
func (c *Cluster) Relay(ctx context.Context, port int, node string) (changed bool, err error) {
	for _, on := range c.spec.controlPlanes() {
		did, err := c.relayOn(ctx, on, port, node)
		if changed = changed || did; err != nil {
			return changed, err
		}
	}
	return changed, nil
}

func (c *Cluster) relayOn(ctx context.Context, on string, port int, node string) (changed bool, err error) {
	socket := fmt.Sprintf("[Socket]\nListenStream=127.0.0.1:%d\n[Install]\nWantedBy=sockets.target\n", port)
	service := fmt.Sprintf("[Service]\nExecStart=/usr/lib/systemd/systemd-socket-proxyd %s:%d\n", node, port)
	for path, text := range map[string]string{
		"/etc/systemd/system/devenv-issuer.socket":  socket,
		"/etc/systemd/system/devenv-issuer.service": service,
		// it tries the first address only, and node ports have none of IPv6
		"/etc/gai.conf": "precedence ::ffff:0:0/96 100\n",
	} {
		if have, err := c.engine.output(ctx, "exec", on, "cat", path); err == nil && have == strings.TrimSpace(text) {
			continue
		}
		if err := c.engine.run(ctx, strings.NewReader(text), nil, "exec", "-i", on, "cp", "/dev/stdin", path); err != nil {
			return changed, fmt.Errorf("could not write %s on the node %s: %w", path, on, err)
		}
		changed = true
	}
	if !changed {
		return false, nil
	}
	return true, c.poll(ctx, "systemd in the node "+on, func(ctx context.Context) error {
		_, err := c.engine.output(ctx, "exec", on, "sh", "-c", "systemctl daemon-reload && systemctl enable --now devenv-issuer.socket")
		return err
	})
}

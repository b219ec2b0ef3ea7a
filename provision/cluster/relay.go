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
	socket := fmt.Sprintf("[Socket]\nListenStream=127.0.0.1:%d\n[Install]\nWantedBy=sockets.target\n", port)
	service := fmt.Sprintf("[Service]\nExecStart=/usr/lib/systemd/systemd-socket-proxyd %s:%d\n", node, port)
	for path, text := range map[string]string{
		"/etc/systemd/system/devenv-issuer.socket":  socket,
		"/etc/systemd/system/devenv-issuer.service": service,
		// it tries the first address only, and node ports have none of IPv6
		"/etc/gai.conf": "precedence ::ffff:0:0/96 100\n",
	} {
		if have, err := c.engine.output(ctx, "exec", c.Node(), "cat", path); err == nil && have == strings.TrimSpace(text) {
			continue
		}
		if err := c.Exec(ctx, strings.NewReader(text), nil, "cp", "/dev/stdin", path); err != nil {
			return changed, fmt.Errorf("could not write %s on the node %s: %w", path, c.Node(), err)
		}
		changed = true
	}
	if !changed {
		return false, nil
	}
	return true, c.poll(ctx, "systemd in the node "+c.Node(), func(ctx context.Context) error {
		_, err := c.engine.output(ctx, "exec", c.Node(), "sh", "-c", "systemctl daemon-reload && systemctl enable --now devenv-issuer.socket")
		return err
	})
}

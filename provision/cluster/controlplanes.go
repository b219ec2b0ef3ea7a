package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ChangedAddressError says that a node came back with another address. etcd finds
// its members by theirs, so that several control planes no longer find each
// other.
type ChangedAddressError struct{ Node, Before, Now string }

func (e *ChangedAddressError) Error() string {
	return fmt.Sprintf("the node %s has the address %s now and had %s, by which the other control planes know it", e.Node, e.Now, e.Before)
}

// addressesPath holds the addresses of several control planes, by name, as they
// were when they were made.
func (s *Spec) addressesPath() string { return filepath.Join(s.Files, "addresses.json") }

// recordAddresses writes them.
func (c *Cluster) recordAddresses(ctx context.Context) error {
	if !c.spec.Nodes.Several() {
		return nil
	}
	addresses := map[string]netip.Addr{}
	for _, node := range c.spec.controlPlanes() {
		address, err := c.address(ctx, node)
		if err != nil {
			return err
		}
		addresses[node] = address
	}
	text, err := json.Marshal(addresses)
	if err != nil {
		return err
	}
	return os.WriteFile(c.spec.addressesPath(), text, 0o600)
}

// recordedAddresses are those; none where there is one control plane.
func (c *Cluster) recordedAddresses() (addresses map[string]netip.Addr) {
	if !c.spec.Nodes.Several() {
		return nil
	}
	if text, err := os.ReadFile(c.spec.addressesPath()); err == nil {
		_ = json.Unmarshal(text, &addresses) // else nothing is known, and nothing compared
	}
	return addresses
}

// address is what a node that runs has.
func (c *Cluster) address(ctx context.Context, node string) (netip.Addr, error) {
	text, err := c.engine.output(ctx, "inspect", "--format", "{{range .NetworkSettings.Networks}}{{println .IPAddress}}{{end}}", node)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("could not read the address of the node %s: %w", node, err)
	}
	first, _, _ := strings.Cut(text, "\n")
	address, err := netip.ParseAddr(strings.TrimSpace(first))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("could not read the address of the node %s: %w", node, err)
	}
	return address, nil
}

// byAddress is the order in which containers are started that have stopped:
// control planes first, by the addresses that they had, because an engine gives
// the lowest that is free. So they most likely get those again.
func (c *Cluster) byAddress(found []container) []container {
	had := c.recordedAddresses()
	return slices.SortedStableFunc(slices.Values(found), func(a, b container) int {
		x, y := had[a.Name], had[b.Name]
		switch {
		case x.IsValid() == y.IsValid():
			return x.Compare(y)
		case x.IsValid():
			return -1
		}
		return 1
	})
}

// checkAddresses makes sure that control planes have the addresses by which they
// know each other.
func (c *Cluster) checkAddresses(ctx context.Context) error {
	for node, before := range c.recordedAddresses() {
		now, err := c.address(ctx, node)
		if err != nil {
			return err
		}
		if now != before {
			return &ChangedAddressError{Node: node, Before: before.String(), Now: now.String()}
		}
	}
	return nil
}

// APIServers are the URLs by which this host reaches each API server of a cluster
// with several; nil for one, which is known.
func (c *Cluster) APIServers(ctx context.Context) ([]string, error) {
	if !c.spec.Nodes.Several() {
		return nil, nil
	}
	var urls []string
	for _, node := range c.spec.controlPlanes() {
		address, err := c.engine.output(ctx, "port", node, "6443")
		if err != nil {
			return nil, fmt.Errorf("could not find the port of the API server of the node %s: %w", node, err)
		}
		first, _, _ := strings.Cut(address, "\n")
		urls = append(urls, "https://"+first)
	}
	return urls, nil
}

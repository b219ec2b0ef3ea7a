package record

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"net"

	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/state"
)

// Where ports are chosen: the range of Kubernetes' NodePorts, and one below it,
// which is not used for outgoing connections.
const (
	firstNodePort, lastNodePort = 30000, 32767
	firstAPIPort, lastAPIPort   = 20000, 29999
)

// choosePorts gives each name a port: the one it had, or one that is free.
func choosePorts(names []string, old map[string]int, taken map[int]bool, first, last int) (map[string]int, error) {
	ports := map[string]int{}
	for _, name := range names {
		port, had := old[name]
		if !had {
			var err error
			if port, err = freePort(first, last, taken); err != nil {
				return nil, err
			}
		}
		ports[name], taken[port] = port, true
	}
	return ports, nil
}

// freePort finds a free port at a random place in a range, so that environments
// that start together rarely choose the same.
func freePort(first, last int, taken map[int]bool) (int, error) {
	count := last - first + 1
	start, err := rand.Int(rand.Reader, big.NewInt(int64(count)))
	if err != nil {
		return 0, err
	}
	for i := range count {
		port := first + (int(start.Int64())+i)%count
		if !taken[port] && PortFree(port) {
			return port, nil
		}
	}
	return 0, failure.Newf(failure.Prerequisite, "no port from %d to %d is free on 127.0.0.1", first, last)
}

// portsOfOthers are the ports that other environments have, running or not.
func portsOfOthers(home state.Home, name string) (map[int]bool, error) {
	names, err := home.Names()
	if err != nil {
		return nil, err
	}
	taken := map[int]bool{}
	for _, other := range names {
		record, err := Load(home.Dir(other))
		if other == name || err != nil { // one that cannot be read has no claim
			continue
		}
		for _, port := range record.Ports() {
			taken[port] = true
		}
	}
	return taken, nil
}

// ChangeInternalPort gives an internal port another number: one that neither
// this environment nor another has, and that nobody listens on.
func (r *Record) ChangeInternalPort(home state.Home, name string) error {
	taken, err := portsOfOthers(home, r.Name)
	if err != nil {
		return err
	}
	for _, port := range r.Ports() {
		taken[port] = true
	}
	r.InternalPorts[name], err = freePort(firstAPIPort, lastAPIPort, taken)
	return err
}

// Loopback is an address on this host to listen on or to dial.
func Loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// PortFree says whether nobody listens on a port of the loopback.
func PortFree(port int) bool {
	l, err := net.Listen("tcp", Loopback(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

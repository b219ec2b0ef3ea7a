package provision

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/state"
)

// resolve makes a record out of a profile: random passwords and secrets, free
// ports. What an earlier record chose is kept.
//
// Ports of other environments are left to them, also while those do not run.
func resolve(home state.Home, name, runtime string, profile *profiles.Environment, old *state.Record) (*state.Record, error) {
	r := &state.Record{Name: name, Runtime: runtime, Profile: *profile, APIPorts: map[string]int{}}
	if old == nil {
		old = &state.Record{}
	} else {
		r.Engine, r.Timings = old.Engine, old.Timings
	}
	r.Profile.Spec.Dex.Users = slices.Clone(profile.Spec.Dex.Users)
	for i := range r.Profile.Spec.Dex.Users {
		u := &r.Profile.Spec.Dex.Users[i]
		if before := old.Profile.User(u.Email); u.Password == "" && before != nil {
			u.Password = before.Password
		}
		if u.Password == "" {
			u.Password = rand.Text()
		}
	}
	r.Profile.Spec.Dex.Clients = slices.Clone(profile.Spec.Dex.Clients)
	for i := range r.Profile.Spec.Dex.Clients {
		c := &r.Profile.Spec.Dex.Clients[i]
		if before := old.Profile.Client(c.ID); c.Secret == "" && !c.Public && before != nil {
			c.Secret = before.Secret
		}
		if c.Secret == "" && !c.Public {
			c.Secret = rand.Text()
		}
	}
	r.Random = randomKeys(profile, old.Random)
	taken, err := portsOfOthers(home, name)
	if err != nil {
		return nil, err
	}
	r.IssuerPort = profile.Spec.Dex.Port
	if r.IssuerPort == 0 {
		r.IssuerPort = old.IssuerPort
	}
	if r.IssuerPort == 0 {
		if r.IssuerPort, err = freePort(firstNodePort, lastNodePort, taken); err != nil {
			return nil, err
		}
	}
	taken[r.IssuerPort] = true
	var clusters, endpoints []string
	for _, c := range profile.Spec.Clusters {
		clusters = append(clusters, c.Name)
	}
	if r.APIPorts, err = choosePorts(clusters, old.APIPorts, taken, firstAPIPort, lastAPIPort); err != nil {
		return nil, err
	}
	for _, x := range profile.Spec.Endpoints {
		endpoints = append(endpoints, x.Name)
	}
	if r.EndpointPorts, err = choosePorts(endpoints, old.EndpointPorts, taken, firstNodePort, lastNodePort); err != nil {
		return nil, err
	}
	if profile.Spec.Share != nil {
		if r.SharePort = old.SharePort; r.SharePort == 0 {
			if r.SharePort, err = freePort(firstAPIPort, lastAPIPort, taken); err != nil {
				return nil, err
			}
		}
		taken[r.SharePort] = true
	}
	if runtime == profiles.RuntimeProcess {
		r.InternalPorts, err = choosePorts(internalPorts(profile), old.InternalPorts, taken, firstAPIPort, lastAPIPort)
	}
	return r, err
}

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

// Where ports are chosen: the range in which Kubernetes hands out node ports,
// and one below it, out of the way of outgoing connections.
const (
	firstNodePort, lastNodePort = 30000, 32767
	firstAPIPort, lastAPIPort   = 20000, 29999
)

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
		if !taken[port] && portFree(port) {
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
		record, err := home.Dir(other).Record()
		if other == name || err != nil { // one that cannot be read has no claim
			continue
		}
		for _, port := range record.Ports() {
			taken[port] = true
		}
	}
	return taken, nil
}

// loopback is an address to listen on or to dial.
func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

func portFree(port int) bool {
	l, err := net.Listen("tcp", loopback(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// fixedDifferences names the fields that cannot be changed in a cluster that
// exists, where the new record has them different.
func fixedDifferences(old, wanted *state.Record) []string {
	var differences []string
	compare := func(field string, before, after any) {
		if before != after {
			differences = append(differences, fmt.Sprintf("%s: %v → %v", field, show(before), show(after)))
		}
	}
	compare("spec.runtime", old.Runtime, wanted.Runtime)
	compare("spec.dex.port", old.IssuerPort, wanted.IssuerPort)
	compare("the names of spec.clusters", clusterNames(old), clusterNames(wanted))
	compare("the places of spec.endpoints", endpointNames(old), endpointNames(wanted))
	for i, c := range wanted.Profile.Spec.Clusters {
		before := old.Profile.Cluster(c.Name)
		if before == nil {
			continue
		}
		path := fmt.Sprintf("spec.clusters[%d]", i)
		if wanted.Runtime == profiles.RuntimeKind {
			compare(path+".publicIssuer", before.PublicIssuer, c.PublicIssuer)
		}
		compare(path+".kubernetesVersion", before.KubernetesVersion, c.KubernetesVersion)
		compareTrust(path+".trust", before.Trust, c.Trust, wanted.Runtime, compare)
	}
	return differences
}

// compareTrust compares what an API server reads only when it starts, which one
// in a node never does again with other flags. A configuration is read anew,
// but for who may come without a token.
func compareTrust(path string, before, after profiles.Trust, runtime string, compare func(field string, before, after any)) {
	if before.Configuration != nil && after.Configuration != nil {
		compare(path+".configuration.anonymous", inJSON(before.Configuration.Anonymous), inJSON(after.Configuration.Anonymous))
		return
	}
	if runtime == profiles.RuntimeProcess {
		return // its API server is started anew
	}
	compare(path+", flags or configuration", by(before), by(after))
	if before.Flags == nil || after.Flags == nil {
		return
	}
	compare(path+".flags.clientID", before.Flags.ClientID, after.Flags.ClientID)
	compare(path+".flags.usernameClaim", before.Flags.UsernameClaim, after.Flags.UsernameClaim)
	compare(path+".flags.usernamePrefix", before.Flags.UsernamePrefix, after.Flags.UsernamePrefix)
	compare(path+".flags.groupsClaim", before.Flags.GroupsClaim, after.Flags.GroupsClaim)
	compare(path+".flags.groupsPrefix", before.Flags.GroupsPrefix, after.Flags.GroupsPrefix)
}

func by(t profiles.Trust) string {
	if t.Flags != nil {
		return "flags"
	}
	return "configuration"
}

func inJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func show(value any) any {
	if value == "" {
		return `""`
	}
	return value
}

// endpointNames are endpoints with their clusters, whose nodes have the ports.
func endpointNames(r *state.Record) string {
	var names []string
	for _, x := range r.Profile.Spec.Endpoints {
		names = append(names, x.Cluster+"/"+x.Namespace+"/"+x.Name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func clusterNames(r *state.Record) string {
	var names []string
	for _, c := range r.Profile.Spec.Clusters {
		names = append(names, c.Name)
	}
	return strings.Join(names, ", ")
}

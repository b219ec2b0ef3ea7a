package provision

import (
	"crypto/rand"
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
func resolve(name string, profile *profiles.Environment, old *state.Record) (*state.Record, error) {
	r := &state.Record{Name: name, Profile: *profile, APIPorts: map[string]int{}}
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
	r.IssuerPort = profile.Spec.Dex.Port
	if r.IssuerPort == 0 {
		r.IssuerPort = old.IssuerPort
	}
	if r.IssuerPort == 0 {
		port, err := freeNodePort()
		if err != nil {
			return nil, err
		}
		r.IssuerPort = port
	}
	for _, c := range profile.Spec.Clusters {
		if r.APIPorts[c.Name] = old.APIPorts[c.Name]; r.APIPorts[c.Name] != 0 {
			continue
		}
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		r.APIPorts[c.Name] = port
	}
	return r, nil
}

// The range in which Kubernetes hands out node ports.
const firstNodePort, lastNodePort = 30000, 32767

// freeNodePort finds a free port at a random place in the range, so that
// environments that start together rarely choose the same.
func freeNodePort() (int, error) {
	const count = lastNodePort - firstNodePort + 1
	start, err := rand.Int(rand.Reader, big.NewInt(count))
	if err != nil {
		return 0, err
	}
	for i := range count {
		port := firstNodePort + (int(start.Int64())+i)%count
		if portFree(port) {
			return port, nil
		}
	}
	return 0, failure.Newf(failure.Prerequisite, "no port from %d to %d is free on 127.0.0.1", firstNodePort, lastNodePort)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("could not find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func portFree(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
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
	compare("spec.dex.port", old.IssuerPort, wanted.IssuerPort)
	compare("the names of spec.clusters", clusterNames(old), clusterNames(wanted))
	for i, c := range wanted.Profile.Spec.Clusters {
		before := old.Profile.Cluster(c.Name)
		if before == nil {
			continue
		}
		path := fmt.Sprintf("spec.clusters[%d]", i)
		compare(path+".kubernetesVersion", before.KubernetesVersion, c.KubernetesVersion)
		compare(path+".trust.flags.clientID", before.Trust.Flags.ClientID, c.Trust.Flags.ClientID)
		compare(path+".trust.flags.usernameClaim", before.Trust.Flags.UsernameClaim, c.Trust.Flags.UsernameClaim)
		compare(path+".trust.flags.usernamePrefix", before.Trust.Flags.UsernamePrefix, c.Trust.Flags.UsernamePrefix)
		compare(path+".trust.flags.groupsClaim", before.Trust.Flags.GroupsClaim, c.Trust.Flags.GroupsClaim)
		compare(path+".trust.flags.groupsPrefix", before.Trust.Flags.GroupsPrefix, c.Trust.Flags.GroupsPrefix)
	}
	return differences
}

func show(value any) any {
	if value == "" {
		return `""`
	}
	return value
}

func clusterNames(r *state.Record) string {
	var names []string
	for _, c := range r.Profile.Spec.Clusters {
		names = append(names, c.Name)
	}
	return strings.Join(names, ", ")
}

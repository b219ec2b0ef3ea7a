package record

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/state"
)

// Resolve makes a record from a profile: random passwords and secrets, free
// ports. What an earlier record chose stays; old is nil where there is none.
//
// Ports of other environments are left to them, also while those do not run.
func Resolve(home state.Home, name string, runtime Runtime, profile *profiles.Environment, old *Record) (_ *Record, err error) {
	r := &Record{Name: name, Runtime: runtime.Name, Profile: *profile}
	if old == nil {
		old = &Record{}
	}
	r.Engine, r.Timings = old.Engine, old.Timings
	if r.Profile.Spec.Clusters, err = absoluteMounts(profile.Spec.Clusters); err != nil {
		return nil, err
	}
	if r.Profile.Spec.Issuer, err = SelfContained(profile.Spec.Issuer); err != nil {
		return nil, err
	}
	r.Profile.Spec.Dex.Users = resolveUsers(profile.Spec.Dex.Users, old)
	r.Profile.Spec.Dex.Clients = resolveClients(profile.Spec.Dex.Clients, old)
	r.keepExposed(old)
	r.Random = randomKeys(profile, old.Random)
	taken, err := portsOfOthers(home, name)
	if err != nil {
		return nil, err
	}
	return r, r.resolvePorts(runtime, old, taken)
}

// absoluteMounts makes the paths of mounts those of this folder: a later `up` may
// be run in another one.
func absoluteMounts(clusters []profiles.Cluster) ([]profiles.Cluster, error) {
	clusters = slices.Clone(clusters)
	for i := range clusters {
		c := &clusters[i]
		c.ExtraMounts = slices.Clone(c.ExtraMounts)
		for j := range c.ExtraMounts {
			path, err := filepath.Abs(c.ExtraMounts[j].HostPath)
			if err != nil {
				return nil, err
			}
			c.ExtraMounts[j].HostPath = path
		}
	}
	return clusters, nil
}

// SelfContained is an external issuer that says the same in every folder: with the
// text of caFile in its place, so that the environment stays with what it was made
// with, and with absolute paths of tokens.
func SelfContained(x *profiles.Issuer) (*profiles.Issuer, error) {
	if x == nil {
		return nil, nil
	}
	read := *x
	read.Users = slices.Clone(x.Users)
	for i := range read.Users {
		if t := read.Users[i].Token; t != nil {
			absolute, err := absoluteSource(*t)
			if err != nil {
				return nil, err
			}
			read.Users[i].Token = &absolute
		}
	}
	if x.CAFile == "" {
		return &read, nil
	}
	text, err := os.ReadFile(x.CAFile)
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM(text) {
		err = errors.New("it holds no certificate in PEM")
	}
	if err != nil {
		return nil, failure.New(failure.Usage, fmt.Errorf("could not read the CA of the issuer %s: %w", x.URL, err), "correct spec.issuer.caFile in the profile")
	}
	read.CA, read.CAFile = string(text), ""
	return &read, nil
}

// absoluteSource makes the paths of a token's file, or of the program that prints
// it, those of this folder; a program without a slash is looked for on PATH.
func absoluteSource(t profiles.TokenSource) (_ profiles.TokenSource, err error) {
	if t.File != "" {
		t.File, err = filepath.Abs(t.File)
	} else if strings.ContainsRune(t.Command[0], filepath.Separator) {
		t.Command = slices.Clone(t.Command)
		t.Command[0], err = filepath.Abs(t.Command[0])
	}
	return t, err
}

func resolveUsers(users []profiles.User, old *Record) []profiles.User {
	users = slices.Clone(users)
	for i := range users {
		u := &users[i]
		if before := old.Profile.User(u.Email); u.Password == "" && before != nil {
			u.Password = before.Password
		}
		if u.Password == "" {
			u.Password = rand.Text()
		}
	}
	return users
}

func resolveClients(clients []profiles.Client, old *Record) []profiles.Client {
	clients = slices.Clone(clients)
	for i := range clients {
		c := &clients[i]
		if before := old.Profile.Client(c.ID); c.Secret == "" && !c.Public && before != nil {
			c.Secret = before.Secret
		}
		if c.Secret == "" && !c.Public {
			c.Secret = rand.Text()
		}
	}
	return clients
}

// resolvePorts chooses every port that the environment has; taken are those
// that it must not have.
func (r *Record) resolvePorts(runtime Runtime, old *Record, taken map[int]bool) (err error) {
	spec := r.Profile.Spec
	for _, c := range spec.Clusters {
		for _, p := range c.ExtraPortMappings {
			taken[p.HostPort], taken[p.ContainerPort] = true, true
		}
	}
	if r.IssuerPort = spec.Dex.Port; r.IssuerPort == 0 && spec.Issuer == nil {
		r.IssuerPort = old.IssuerPort
	}
	if r.IssuerPort == 0 && spec.Issuer == nil {
		if r.IssuerPort, err = freePort(firstNodePort, lastNodePort, taken); err != nil {
			return err
		}
	}
	taken[r.IssuerPort] = true
	var clusters, endpoints []string
	for _, c := range spec.Clusters {
		clusters = append(clusters, c.Name)
	}
	for _, x := range spec.Endpoints {
		endpoints = append(endpoints, x.Name)
	}
	if r.APIPorts, err = choosePorts(clusters, old.APIPorts, taken, firstAPIPort, lastAPIPort); err != nil {
		return err
	}
	if r.EndpointPorts, err = choosePorts(endpoints, old.EndpointPorts, taken, firstNodePort, lastNodePort); err != nil {
		return err
	}
	if err := r.resolveSparePorts(runtime, old, taken); err != nil {
		return err
	}
	if spec.Share != nil {
		if r.SharePort = old.SharePort; r.SharePort == 0 {
			if r.SharePort, err = freePort(firstAPIPort, lastAPIPort, taken); err != nil {
				return err
			}
		}
		taken[r.SharePort] = true
	}
	if runtime.InternalPorts != nil {
		r.InternalPorts, err = choosePorts(runtime.InternalPorts(&r.Profile), old.InternalPorts, taken, firstAPIPort, lastAPIPort)
	}
	return err
}

// randomKeys are 32 bytes in base64 for each placeholder ${random.NAME}; those
// of an earlier record stay.
func randomKeys(profile *profiles.Environment, old map[string]string) map[string]string {
	keys := map[string]string{}
	for _, name := range profiles.UsedPlaceholders(profile) {
		if !profiles.RandomPlaceholder(name) {
			continue
		}
		if keys[name] = old[name]; keys[name] == "" {
			random := make([]byte, 32)
			_, _ = rand.Read(random) // never fails (crypto/rand)
			keys[name] = base64.StdEncoding.EncodeToString(random)
		}
	}
	return keys
}

// Package profiles says what an environment is: the Environment type, its
// loader and validation, the shipped profiles and every pinned version.
//
// A profile is data. What a known system needs becomes a field that any
// profile can use, never a branch on a profile's name.
package profiles

import (
	"cmp"
)

// APIVersion and Kind stand at the head of every profile.
const (
	APIVersion = "devenv.dev/v1alpha1"
	Kind       = "Environment"
)

// Where the clusters of an environment run.
const (
	RuntimeAuto    = "auto"    // kind where a container engine can run it, else process
	RuntimeKind    = "kind"    // nodes that are containers
	RuntimeProcess = "process" // control planes of plain processes, without pods
)

// Environment is a profile: clusters, the OpenID Connect provider they trust,
// its clients and users, their permissions, and what the check proves.
type Environment struct {
	APIVersion string   `json:"apiVersion" jsonschema:"enum=devenv.dev/v1alpha1"`
	Kind       string   `json:"kind" jsonschema:"enum=Environment"`
	Metadata   Metadata `json:"metadata"`
	Spec       Spec     `json:"spec"`
}

// Metadata names a profile.
type Metadata struct {
	// Name of the profile, a DNS label.
	Name string `json:"name" jsonschema:"pattern=^[a-z]([-a-z0-9]{0\\,30}[a-z0-9])?$"`
	// Description in one line, shown by `devenv profiles list`.
	Description string `json:"description,omitempty"`
}

// Spec is everything that makes an environment.
type Spec struct {
	// Runtime is where the clusters run; "auto" when empty.
	Runtime string `json:"runtime,omitempty" jsonschema:"enum=auto,enum=kind,enum=process"`
	// Clusters, at least one. Dex and cert-manager run in the first.
	Clusters []Cluster `json:"clusters" jsonschema:"minItems=1"`
	// Connections from one cluster to another, without any user.
	Connections []Connection `json:"connections,omitempty"`
	// Dex is the OpenID Connect provider.
	Dex Dex `json:"dex,omitzero"`
	// Issuer is another provider in the place of Dex.
	Issuer *Issuer `json:"issuer,omitempty"`
	// Endpoints are what pods serve to everybody, as Dex serves the issuer.
	Endpoints []Endpoint `json:"endpoints,omitempty"`
	// Probes are requests that the check makes from inside the clusters.
	Probes []Probe `json:"probes,omitempty"`
	// ServiceBindings are backends whose login and kubeconfig the check proves.
	ServiceBindings []ServiceBinding `json:"serviceBindings,omitempty"`
	// Share is how `devenv share` gives kubeconfigs to whoever logs in.
	Share *Share `json:"share,omitempty"`
	// CertManager issues Dex's serving certificate and keeps renewing it, where
	// there are pods.
	CertManager CertManager `json:"certManager,omitempty"`
	// Expectations are what the check asks the API server about each user.
	Expectations []Expectation `json:"expectations,omitempty"`
}

// CertManager configures cert-manager.
type CertManager struct {
	// Values are laid over devenv's own chart values.
	Values map[string]any `json:"values,omitempty"`
}

// Cluster returns the cluster of that name, or nil.
func (e *Environment) Cluster(name string) *Cluster {
	for i := range e.Spec.Clusters {
		if e.Spec.Clusters[i].Name == name {
			return &e.Spec.Clusters[i]
		}
	}
	return nil
}

// User returns the user with that e-mail, or nil.
func (e *Environment) User(email string) *User {
	users := e.Spec.Users()
	for i := range users {
		if users[i].Email == email {
			return &users[i]
		}
	}
	return nil
}

// Client returns the client with that id, or nil.
func (e *Environment) Client(id string) *Client {
	clients := e.Spec.Clients()
	for i := range clients {
		if clients[i].ID == id {
			return &clients[i]
		}
	}
	return nil
}

// Endpoint returns the endpoint of that name, or nil.
func (e *Environment) Endpoint(name string) *Endpoint {
	for i := range e.Spec.Endpoints {
		if e.Spec.Endpoints[i].Name == name {
			return &e.Spec.Endpoints[i]
		}
	}
	return nil
}

// setDefaults fills what a profile may leave out.
func (e *Environment) setDefaults() {
	if e.Spec.Runtime == "" {
		e.Spec.Runtime = RuntimeAuto
	}
	if e.Spec.Issuer == nil && e.Spec.Dex.IDTokenLifetime == "" {
		e.Spec.Dex.IDTokenLifetime = "1h"
	}
	for i := range e.Spec.Probes {
		p := &e.Spec.Probes[i]
		p.CA = cmp.Or(p.CA, "${ca}")
		p.Status = cmp.Or(p.Status, 200)
	}
	for i := range e.Spec.Clusters {
		c := &e.Spec.Clusters[i]
		for j := range c.Charts {
			c.Charts[j].Release = cmp.Or(c.Charts[j].Release, c.Charts[j].Name)
		}
		if c.KubernetesVersion == "" {
			c.KubernetesVersion = Pinned().DefaultKubernetes
		}
	}
	setUserDefaults(e.Spec.Users())
	for i := range e.Spec.Dex.Connectors {
		c := &e.Spec.Dex.Connectors[i]
		c.Name = cmp.Or(c.Name, c.ID)
		setUserDefaults(c.Users)
	}
	clients := e.Spec.Clients()
	for i := range clients {
		if c := &clients[i]; c.Name == "" {
			c.Name = c.ID
		}
	}
	if s := e.Spec.Share; s != nil {
		s.Path = cmp.Or(s.Path, "/kubeconfig")
	}
	for i := range e.Spec.Connections {
		c := &e.Spec.Connections[i]
		c.TokenLifetime = cmp.Or(c.TokenLifetime, "1h")
		c.KubeconfigKey = cmp.Or(c.KubeconfigKey, "kubeconfig")
	}
	for i := range e.Spec.Expectations {
		if x := &e.Spec.Expectations[i]; x.Cluster == "" && len(e.Spec.Clusters) > 0 {
			x.Cluster = e.Spec.Clusters[0].Name
		}
	}
}

func setUserDefaults(users []User) {
	for i := range users {
		u := &users[i]
		if u.Username == "" {
			u.Username, _, _ = cutLast(u.Email, "@")
		}
		if u.EmailVerified == nil {
			u.EmailVerified = new(true)
		}
	}
}

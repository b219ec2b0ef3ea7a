package provision

import (
	"context"
	"fmt"
	"time"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/drift"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/lifetime"
	"github.com/devenv-oidc/devenv/provision/process"
	"github.com/devenv-oidc/devenv/provision/progress"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/session"
	"github.com/devenv-oidc/devenv/provision/state"
)

// Status is what there is of an environment. Its JSON is a contract with
// scripts: fields are added, never renamed.
type Status struct {
	Name    string `json:"name"`
	Profile string `json:"profile"`
	// Runtime is kind or process.
	Runtime string `json:"runtime"`
	// Ready says that the last `up` went through, that every cluster runs and
	// that the issuer answers now.
	Ready bool `json:"ready"`
	// State is running, degraded (something of it is not as it should be), or
	// incomplete (it was never ready).
	State string `json:"state"`
	// Problems are why it is not ready; none where it is.
	Problems []string `json:"problems,omitempty"`
	// Differences are what the next `up` would change.
	Differences []Difference    `json:"differences,omitempty"`
	Issuer      IssuerStatus    `json:"issuer"`
	Clusters    []ClusterStatus `json:"clusters"`
	// Processes that the runtime process started; with kind there are none.
	Processes []ProcessStatus `json:"processes,omitempty"`
	// Endpoints are what the profile's pods serve to everybody.
	Endpoints []EndpointStatus `json:"endpoints,omitempty"`
	// Connections are the kubeconfigs by which clusters reach each other.
	Connections []ConnectionStatus `json:"connections,omitempty"`
	Users       []UserStatus       `json:"users"`
	Clients     []ClientStatus     `json:"clients"`
	Timings     []progress.Timing  `json:"timings"`
	// Lifetime is there where the environment ends by itself.
	Lifetime *LifetimeStatus `json:"lifetime,omitempty"`
	// StateFolder holds the environment's files.
	StateFolder string `json:"stateFolder"`
}

// IssuerStatus is how to reach the issuer.
type IssuerStatus struct {
	URL    string `json:"url"`
	CAFile string `json:"caFile"`
	// Address is host:port to dial where the URL's host does not resolve.
	Address string `json:"address"`
	// Problem says why it does not answer; empty if it does.
	Problem string `json:"problem,omitempty"`
}

// ClusterStatus is one cluster.
type ClusterStatus struct {
	Name   string `json:"name"`
	Server string `json:"server"`
	// Kubeconfig is the administrator's, a file.
	Kubeconfig        string `json:"kubeconfig"`
	KubernetesVersion string `json:"kubernetesVersion"`
	// State is running, broken (a part of it runs), stopped, paused, incomplete
	// or absent.
	State string `json:"state"`
}

// LifetimeStatus is when an environment ends by itself.
type LifetimeStatus struct {
	// Ends says it in words.
	Ends      string    `json:"ends"`
	Until     time.Time `json:"until,omitzero"`
	OwnerPIDs []int     `json:"ownerPIDs,omitempty"`
	// Over says why it is over; empty while it is not.
	Over string `json:"over,omitempty"`
}

// ProcessStatus is one process of the environment.
type ProcessStatus = process.Status

// EndpointStatus is one endpoint.
type EndpointStatus struct {
	Name string `json:"name"`
	URL  string `json:"url"`
	// CAFile holds the CA that its certificate verifies with.
	CAFile string `json:"caFile"`
	// Address is host:port to dial where the URL's host does not resolve.
	Address string `json:"address"`
}

// ConnectionStatus is one connection between clusters.
type ConnectionStatus struct {
	Name string `json:"name"`
	From string `json:"from"`
	To   string `json:"to"`
	// Secret is the Secret in From, namespace/name, and Key the kubeconfig's.
	Secret string `json:"secret"`
	Key    string `json:"key"`
}

// UserStatus is one user; passwords are not shown.
type UserStatus struct {
	Email  string   `json:"email"`
	Groups []string `json:"groups"`
}

// ClientStatus is one client; secrets are not shown.
type ClientStatus struct {
	ID     string `json:"id"`
	Public bool   `json:"public"`
}

// Status looks at the environment; it changes nothing.
func (e *Environment) Status(ctx context.Context) (*Status, error) {
	r := e.env.Record
	s := e.described()
	if !r.Ready {
		s.problem("the last devenv up did not succeed")
	}
	findErr := e.runtime.Find(ctx)
	if findErr != nil {
		s.problem("%v", findErr)
	}
	for _, c := range r.Profile.Spec.Clusters {
		status := ClusterStatus{
			Name: c.Name, Server: "https://" + record.Loopback(r.APIPorts[c.Name]),
			Kubeconfig: e.env.KubeconfigFile(c.Name), KubernetesVersion: c.KubernetesVersion, State: "unknown",
		}
		if findErr == nil {
			found, err := e.runtime.State(ctx, c.Name)
			if err != nil {
				return nil, err
			}
			status.State = found
		}
		if status.State != "running" {
			s.problem("cluster %s is %s", c.Name, status.State)
		}
		s.Clusters = append(s.Clusters, status)
	}
	s.Processes = e.runtime.Processes()
	for _, p := range s.Processes {
		if p.State != "running" {
			s.problem("process %s is %s", p.Name, p.State)
		}
	}
	if err := session.AskIssuer(ctx, e.env); err != nil {
		s.Issuer.Problem = err.Error()
		s.problem("the issuer does not answer")
	}
	return s, nil
}

// Compare adds to a status how the environment differs from what was last asked
// of it; it takes a moment longer than Status alone.
func (e *Environment) Compare(ctx context.Context, s *Status) error {
	found, err := drift.Find(ctx, e.env, e.runtime)
	if err != nil {
		return nil // Status has said so
	}
	s.Differences = found
	if s.State == "running" && len(found) > 0 {
		s.State = "degraded"
	}
	return ctx.Err()
}

// problem is a reason by which the environment is not ready.
func (s *Status) problem(format string, args ...any) {
	if s.Ready {
		s.Ready, s.State = false, "degraded"
	}
	s.Problems = append(s.Problems, fmt.Sprintf(format, args...))
}

// described is what the record alone says.
func (e *Environment) described() *Status {
	r := e.env.Record
	state := "running"
	if !r.Ready {
		state = "incomplete"
	}
	s := &Status{
		State: state,
		Name:  r.Name, Profile: r.Profile.Metadata.Name, Runtime: r.Runtime, Ready: r.Ready,
		Issuer:      IssuerStatus{URL: e.Issuer(), CAFile: e.env.IssuerCAFile(), Address: e.IssuerAddress()},
		Timings:     r.Timings,
		StateFolder: string(e.env.Dir),
	}
	if l, err := lifetime.Read(e.env.Dir); err != nil {
		s.problem("%v", err)
	} else if !l.Endless() {
		s.Lifetime = &LifetimeStatus{Ends: l.String(), Until: l.Until, Over: l.Over()}
		for _, o := range l.Owners {
			s.Lifetime.OwnerPIDs = append(s.Lifetime.OwnerPIDs, o.PID)
		}
	}
	for _, x := range r.Profile.Spec.Endpoints {
		s.Endpoints = append(s.Endpoints, e.endpointStatus(x))
	}
	for _, c := range r.Profile.Spec.Connections {
		s.Connections = append(s.Connections, ConnectionStatus{Name: c.Name, From: c.From, To: c.To, Secret: c.Namespace + "/" + c.Name, Key: c.KubeconfigKey})
	}
	for _, u := range r.Profile.Spec.Users() {
		s.Users = append(s.Users, UserStatus{Email: u.Email, Groups: append([]string{}, u.Groups...)})
	}
	for _, c := range r.Profile.Spec.Clients() {
		s.Clients = append(s.Clients, ClientStatus{ID: c.ID, Public: c.Public})
	}
	return s
}

func (e *Environment) endpointStatus(x profiles.Endpoint) EndpointStatus {
	return EndpointStatus{Name: x.Name, URL: e.env.EndpointURL(x.Name), CAFile: e.env.CAFile(), Address: record.Loopback(e.env.Record.EndpointPorts[x.Name])}
}

// Listed is an environment in a list.
type Listed struct {
	Name    string `json:"name"`
	Profile string `json:"profile"`
	Runtime string `json:"runtime"`
	Ready   bool   `json:"ready"`
	Issuer  string `json:"issuer"`
	// Lifetime is there where the environment ends by itself.
	Lifetime *LifetimeStatus `json:"lifetime,omitempty"`
	// Problem says why nothing more is known of it; empty if it is known.
	Problem string `json:"problem,omitempty"`
}

// List looks at every environment. With an error of class Prerequisite there may
// be more than those that it returns.
func List(ctx context.Context, home state.Home) ([]Listed, error) {
	names, unknown := Names(ctx, home)
	list := []Listed{}
	for _, name := range names {
		listed, err := look(ctx, home, name)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			listed = Listed{Name: name, Problem: err.Error()} // the others are still to be seen
		}
		list = append(list, listed)
	}
	return list, unknown
}

func look(ctx context.Context, home state.Home, name string) (Listed, error) {
	e, err := Open(ctx, home, name)
	if err != nil {
		return Listed{}, err
	}
	status, err := e.Status(ctx)
	if err != nil {
		return Listed{}, err
	}
	return Listed{Name: name, Profile: status.Profile, Runtime: status.Runtime, Ready: status.Ready, Issuer: status.Issuer.URL, Lifetime: status.Lifetime}, nil
}

// CollectLogs writes the logs of everything that runs in the environment to a
// folder.
func (e *Environment) CollectLogs(ctx context.Context, folder string) error {
	if err := e.runtime.Find(ctx); err != nil {
		return err
	}
	if err := e.runtime.CollectLogs(ctx, folder); err != nil {
		return failure.New(failure.Provisioning, err, "see what there is: devenv status"+record.NameFlag(e.env.Name()))
	}
	return nil
}

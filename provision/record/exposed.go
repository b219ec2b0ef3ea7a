package record

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/failure"
)

// keepExposed adds the endpoints that were exposed in an earlier record, but for
// those whose name the profile now has itself.
func (r *Record) keepExposed(old *Record) {
	endpoints := slices.Clone(r.Profile.Spec.Endpoints)
	for _, x := range old.Exposed {
		if r.Profile.Cluster(x.Cluster) != nil && r.Profile.Endpoint(x.Name) == nil {
			r.Exposed, endpoints = append(r.Exposed, x), append(endpoints, x)
		}
	}
	r.Profile.Spec.Endpoints = endpoints
}

// resolveSparePorts puts ports by for each cluster that is new: the nodes of the
// others have what they have.
func (r *Record) resolveSparePorts(runtime Runtime, old *Record, taken map[int]bool) error {
	if !runtime.Pods {
		return nil
	}
	r.SparePorts = map[string][]int{}
	maps.Copy(r.SparePorts, old.SparePorts)
	if old.Name != "" {
		return nil
	}
	for _, c := range r.Profile.Spec.Clusters {
		for range c.Spare() {
			port, err := freePort(firstNodePort, lastNodePort, taken)
			if err != nil {
				return err
			}
			r.SparePorts[c.Name], taken[port] = append(r.SparePorts[c.Name], port), true
		}
	}
	return nil
}

// WithExposed returns a copy of the record with one more endpoint, at a spare port
// of its cluster. Errors are of class Usage.
func (r *Record) WithExposed(x profiles.Endpoint) (*Record, error) {
	spare := r.SparePorts[x.Cluster]
	if len(spare) == 0 {
		return nil, failure.Newf(failure.Usage, "cluster %q has no spare port left, so that nothing more can be exposed in it", x.Cluster).
			Hint("put away another endpoint: devenv expose --remove NAME%s", NameFlag(r.Name)).
			Hint("or ask for more in the profile (spec.clusters[].sparePorts) and recreate the environment, its data will be lost: devenv up --recreate%s%s", NameFlag(r.Name), r.Arguments)
	}
	changed := r.copied()
	changed.Exposed = append(changed.Exposed, x)
	changed.Profile.Spec.Endpoints = append(changed.Profile.Spec.Endpoints, x)
	changed.EndpointPorts[x.Name], changed.SparePorts[x.Cluster] = spare[0], slices.Clone(spare[1:])
	text, err := json.Marshal(changed.Profile)
	if err != nil {
		return nil, err
	}
	if _, err := profiles.Parse("the environment with this endpoint", text); err != nil {
		return nil, failure.New(failure.Usage, err)
	}
	return changed, nil
}

// WithoutExposed returns a copy of the record without an endpoint that was
// exposed, and that endpoint. Errors are of class Usage.
func (r *Record) WithoutExposed(name string) (*Record, profiles.Endpoint, error) {
	is := func(x profiles.Endpoint) bool { return x.Name == name }
	i := slices.IndexFunc(r.Exposed, is)
	if i < 0 {
		err := failure.Newf(failure.Usage, "nothing is exposed as %q in environment %q", name, r.Name)
		for _, x := range r.Exposed {
			err = err.Hint("there is %q: Service %s/%s", x.Name, x.Namespace, x.Service)
		}
		if r.Profile.Endpoint(name) != nil {
			err = err.Hint("an endpoint of the profile is removed there: spec.endpoints")
		}
		return nil, profiles.Endpoint{}, err
	}
	x, changed := r.Exposed[i], r.copied()
	changed.Exposed = slices.DeleteFunc(changed.Exposed, is)
	changed.Profile.Spec.Endpoints = slices.DeleteFunc(changed.Profile.Spec.Endpoints, is)
	changed.SparePorts[x.Cluster] = append(slices.Clone(changed.SparePorts[x.Cluster]), changed.EndpointPorts[name])
	delete(changed.EndpointPorts, name)
	return changed, x, nil
}

// copied is a copy whose endpoints and ports can be changed.
func (r *Record) copied() *Record {
	c := *r
	c.Exposed, c.Profile.Spec.Endpoints = slices.Clone(r.Exposed), slices.Clone(r.Profile.Spec.Endpoints)
	c.EndpointPorts, c.SparePorts = map[string]int{}, map[string][]int{}
	maps.Copy(c.EndpointPorts, r.EndpointPorts)
	maps.Copy(c.SparePorts, r.SparePorts)
	return &c
}

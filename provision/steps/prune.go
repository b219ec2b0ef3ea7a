package steps

import (
	"context"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/chart"
	"github.com/devenv-oidc/devenv/provision/connection"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/plan"
)

// profilePart marks the objects and releases that a profile asks for, and not
// devenv itself.
const profilePart = "profile"

var profileLabels = map[string]string{kube.PartLabel: profilePart}

// ObjectDifferences says what `up` would change in the profile's objects for a
// cluster.
func ObjectDifferences(ctx context.Context, e *environment.Environment, c profiles.Cluster) ([]kube.Difference, error) {
	admin, err := e.Admin(c.Name)
	if err != nil {
		return nil, err
	}
	objects, err := Objects(ctx, e, c)
	if err != nil {
		return nil, err
	}
	return inventory(admin).Differences(ctx, !e.NoPrune, objects...)
}

func inventory(admin *kube.Client) kube.Inventory {
	return kube.Inventory{Client: admin, Part: profilePart}
}

// pruneAll deletes what an earlier profile had and this one does not:
// connections, objects with the Services of endpoints, and charts. Where users
// and clients, roles and bindings are created, they are also pruned.
func pruneAll(e *environment.Environment) plan.Ensure {
	return func(ctx context.Context) (changed bool, err error) {
		for _, c := range e.Spec().Clusters {
			did, err := pruneCluster(ctx, e, c)
			if changed = changed || did; err != nil {
				return changed, err
			}
		}
		return changed, nil
	}
}

func pruneCluster(ctx context.Context, e *environment.Environment, c profiles.Cluster) (changed bool, err error) {
	admin, err := e.Admin(c.Name)
	if err != nil {
		return false, err
	}
	var connections []profiles.Connection
	for _, x := range e.Spec().Connections {
		if x.From == c.Name {
			connections = append(connections, x)
		}
	}
	disconnected, err := connection.Prune(ctx, admin, connections)
	if err != nil {
		return disconnected, err
	}
	objects, err := Objects(ctx, e, c)
	if err != nil {
		return disconnected, err
	}
	deleted, err := inventory(admin).Prune(ctx, objects...)
	if err != nil {
		return disconnected || deleted, err
	}
	var releases []string
	for _, x := range c.Charts {
		releases = append(releases, x.Namespace+"/"+x.Release)
	}
	uninstalled, err := chart.Prune(admin, e.Log("helm-prune").Printf, profileLabels, releases)
	return disconnected || deleted || uninstalled, err
}

package steps

import (
	"context"
	"fmt"
	"time"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/plan"
	"github.com/devenv-oidc/devenv/provision/record"
)

// workloadLimit is how long Deployments of a profile may take: an image that
// cannot be pulled would wait for ever.
const workloadLimit = 3 * time.Minute

func endpointsOf(e *environment.Environment, c profiles.Cluster) []profiles.Endpoint {
	var list []profiles.Endpoint
	for _, x := range e.Spec().Endpoints {
		if x.Cluster == c.Name {
			list = append(list, x)
		}
	}
	return list
}

// EndpointService is the name of an endpoint's Service.
func EndpointService(x profiles.Endpoint) string { return "devenv-" + x.Name }

// endpointObject makes an endpoint's port the same on the node, on the host and
// in the cluster, as the issuer's.
func endpointObject(e *environment.Environment, x profiles.Endpoint) kube.Object {
	port, selector := e.Record.EndpointPorts[x.Name], kube.Object{}
	for key, value := range x.Selector {
		selector[key] = value
	}
	return kube.Object{
		"apiVersion": "v1", "kind": "Service",
		"metadata": kube.Object{"name": EndpointService(x), "namespace": x.Namespace, "labels": kube.ManagedLabels()},
		"spec": kube.Object{
			"type": "NodePort", "selector": selector,
			"ports": []any{kube.Object{"name": "https", "port": port, "nodePort": port, "targetPort": x.TargetPort}},
		},
	}
}

// Objects are the profile's objects for a cluster, without placeholders, and
// the Services of its endpoints.
func Objects(e *environment.Environment, c profiles.Cluster) ([]kube.Object, error) {
	objects, err := environment.Fill(e, c.Objects)
	if err != nil {
		return nil, err
	}
	for _, x := range endpointsOf(e, c) {
		objects = append(objects, endpointObject(e, x))
	}
	return objects, nil
}

// applyObjects applies a profile's objects and endpoints, and waits until its
// Deployments run.
func applyObjects(e *environment.Environment, c profiles.Cluster) plan.Ensure {
	return func(ctx context.Context) (changed bool, err error) {
		admin, err := e.Admin(c.Name)
		if err != nil {
			return false, err
		}
		objects, err := Objects(e, c)
		if err != nil {
			return false, err
		}
		if changed, err = inventory(admin).Apply(ctx, objects...); err != nil {
			return changed, err
		}
		ctx, cancel := context.WithTimeoutCause(ctx, workloadLimit, fmt.Errorf("the limit of %s was reached", workloadLimit))
		defer cancel()
		for _, d := range kube.Deployments(objects) {
			if err := admin.WaitAvailable(ctx, d.Namespace, d.Name); err != nil {
				return changed, failure.New(failure.Provisioning, err, "see which proofs that leaves open: devenv check"+record.NameFlag(e.Name()))
			}
		}
		return changed, nil
	}
}

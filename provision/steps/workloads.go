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

// Objects are all objects that a profile asks for in a cluster, without
// placeholders: those of its manifests, its own, and the Services of its
// endpoints.
func Objects(ctx context.Context, e *environment.Environment, c profiles.Cluster) ([]kube.Object, error) {
	objects, err := environment.Objects(ctx, e, c)
	if err != nil {
		return nil, err
	}
	endpoints, err := endpointObjects(e, c)
	return append(objects, endpoints...), err
}

// fetchManifests fetches and verifies the manifests of a profile before anything
// is made.
func fetchManifests(e *environment.Environment) plan.Ensure {
	return func(ctx context.Context) (changed bool, err error) {
		for _, c := range e.Spec().Clusters {
			if _, err := environment.ManifestObjects(ctx, e, c); err != nil {
				return false, err
			}
		}
		return false, nil
	}
}

// applyManifests applies the manifests of a cluster.
func applyManifests(e *environment.Environment, c profiles.Cluster) plan.Ensure {
	return func(ctx context.Context) (changed bool, err error) {
		objects, err := environment.ManifestObjects(ctx, e, c)
		if err != nil {
			return false, err
		}
		return applyAll(ctx, e, c, objects)
	}
}

// applyObjects applies a profile's own objects, and its endpoints.
func applyObjects(e *environment.Environment, c profiles.Cluster) plan.Ensure {
	return func(ctx context.Context) (changed bool, err error) {
		objects, err := environment.Fill(e, c.Objects)
		if err != nil {
			return false, err
		}
		for _, x := range e.Record.Exposed { // whose namespace may be gone since
			if x.Cluster != c.Name {
				continue
			}
			if admin, err := e.Admin(c.Name); err != nil {
				return false, err
			} else if _, err := admin.EnsureNamespace(ctx, x.Namespace); err != nil {
				return false, err
			}
		}
		if err := signEndpoints(e, c); err != nil {
			return false, err
		}
		endpoints, err := endpointObjects(e, c)
		if err != nil {
			return false, err
		}
		return applyAll(ctx, e, c, append(objects, endpoints...))
	}
}

// applyAll applies objects, and waits until those among them run that do, and
// until the others are what they shall be.
func applyAll(ctx context.Context, e *environment.Environment, c profiles.Cluster, objects []kube.Object) (changed bool, err error) {
	admin, err := e.Admin(c.Name)
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
	for _, o := range kube.Awaited(objects) {
		if err := admin.WaitReady(ctx, o); err != nil {
			return changed, failure.New(failure.Provisioning, err, "see which proofs that leaves open: devenv check"+record.NameFlag(e.Name()))
		}
	}
	return changed, nil
}

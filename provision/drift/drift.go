// Package drift says how an environment differs from what its record wants: what
// the next `up` would change. It only reads; API servers are asked by a dry run.
package drift

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/access"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/process"
	"github.com/devenv-oidc/devenv/provision/session"
	"github.com/devenv-oidc/devenv/provision/steps"
)

// Runtime is what drift needs of whatever runs the environment.
type Runtime interface {
	Find(ctx context.Context) error
	State(ctx context.Context, cluster string) (string, error)
	APIServerFlags(ctx context.Context, cluster string) (have []string, want map[string]string, err error)
	Processes() []process.Status
}

// limit for each cluster: what does not answer by then is a difference too.
const limit = 10 * time.Second

// Find compares the environment with its record, cluster by cluster. What cannot
// be asked is itself a difference.
func Find(ctx context.Context, e *environment.Environment, runtime Runtime) ([]kube.Difference, error) {
	if err := runtime.Find(ctx); err != nil {
		return nil, err
	}
	var found []kube.Difference
	for _, p := range runtime.Processes() {
		if p.State != "running" {
			found = append(found, kube.Difference{Object: "process " + p.Name, Field: "state", Have: p.State, Want: "running"})
		}
	}
	for _, c := range e.Spec().Clusters {
		limited, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %s", limit))
		differences, err := cluster(limited, e, runtime, c)
		found = append(found, differences...)
		cancel()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			found = append(found, kube.Difference{Object: "cluster " + c.Name, Field: "answer", Have: err.Error(), Want: "one that can be compared"})
		}
	}
	return found, nil
}

// cluster is the list of what is compared in a cluster.
func cluster(ctx context.Context, e *environment.Environment, runtime Runtime, c profiles.Cluster) ([]kube.Difference, error) {
	state, err := runtime.State(ctx, c.Name)
	if err != nil {
		return nil, err
	}
	if state != "running" {
		return []kube.Difference{{Object: "cluster " + c.Name, Field: "state", Have: state, Want: "running"}}, nil
	}
	admin, err := e.Admin(c.Name)
	if err != nil {
		return nil, err
	}
	parts := []func() ([]kube.Difference, error){
		func() ([]kube.Difference, error) { return flags(ctx, runtime, c) },
		func() ([]kube.Difference, error) {
			return access.Differences(ctx, admin, c.Access, c.PublicIssuer, e.NoPrune)
		},
		func() ([]kube.Difference, error) { return steps.ObjectDifferences(ctx, e, c) },
		func() ([]kube.Difference, error) { return connections(ctx, e, admin, c) },
	}
	if e.IsFirst(c) && !e.External() {
		parts = append(parts, func() ([]kube.Difference, error) { return dex(ctx, e, admin) })
	}
	var found []kube.Difference
	for _, part := range parts {
		differences, err := part()
		found = append(found, differences...)
		if err != nil {
			return found, err
		}
	}
	return found, nil
}

// flags compares those by which the API server trusts issuers.
func flags(ctx context.Context, runtime Runtime, c profiles.Cluster) ([]kube.Difference, error) {
	list, want, err := runtime.APIServerFlags(ctx, c.Name)
	if err != nil {
		return nil, err
	}
	have := map[string]string{}
	for _, flag := range list {
		name, value, _ := strings.Cut(strings.TrimLeft(flag, "-"), "=")
		have[name] = value
	}
	var found []kube.Difference
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if have[name] != want[name] {
			found = append(found, kube.Difference{Object: "API server of cluster " + c.Name, Field: "--" + name, Have: cmp.Or(have[name], kube.Missing), Want: want[name]})
		}
	}
	return found, nil
}

func connections(ctx context.Context, e *environment.Environment, admin *kube.Client, c profiles.Cluster) ([]kube.Difference, error) {
	var found []kube.Difference
	for _, x := range e.Spec().Connections {
		if x.From != c.Name {
			continue
		}
		_, err := admin.Core.CoreV1().Secrets(x.Namespace).Get(ctx, x.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			found = append(found, kube.Difference{Object: "Secret " + x.Namespace + "/" + x.Name, Have: kube.Missing, Want: kube.Present})
		} else if err != nil {
			return found, err
		}
	}
	return found, nil
}

// dex compares Dex's users and clients, and where it runs as a pod its
// Deployment.
func dex(ctx context.Context, e *environment.Environment, admin *kube.Client) ([]kube.Difference, error) {
	var found []kube.Difference
	if e.Runtime.Pods {
		name := "Deployment " + identity.Namespace + "/" + identity.Release
		d, err := admin.Core.AppsV1().Deployments(identity.Namespace).Get(ctx, identity.Release, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			found = append(found, kube.Difference{Object: name, Have: kube.Missing, Want: kube.Present})
		case err != nil:
			return nil, err
		case d.Spec.Replicas != nil && *d.Spec.Replicas == 0:
			found = append(found, kube.Difference{Object: name, Field: "spec.replicas", Have: "0", Want: "1"})
		}
		services, err := admin.Differences(ctx, identity.IssuerService(e.Record.IssuerPort))
		if found = append(found, services...); err != nil {
			return found, err
		}
	}
	clients, err := session.Clients(e)
	if err != nil {
		return found, err
	}
	logins, err := identity.Differences(ctx, admin, e.Spec().Dex.Users, clients, !e.NoPrune)
	return append(found, logins...), err
}

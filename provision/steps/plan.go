// Package steps is what `up` does alike on every runtime: functions that take
// what they need and return a step's Ensure, and the parts of a plan that all
// plans have. Steps pass nothing to each other: each reads what it needs from
// the environment's files and from its clusters.
package steps

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/plan"
	"github.com/devenv-oidc/devenv/provision/proofs"
	"github.com/devenv-oidc/devenv/provision/record"
)

// ID is a step's id for a cluster: without its name for the first.
func ID(e *environment.Environment, step, cluster string) string {
	if cluster == e.First().Name {
		return step
	}
	return step + "-" + cluster
}

// Workloads are the steps for what a profile runs in a cluster beside Dex and
// cert-manager; after is what must be done before.
func Workloads(e *environment.Environment, c profiles.Cluster, after []string) []plan.Step {
	var steps []plan.Step
	if len(c.Manifests) > 0 {
		id := ID(e, "apply-manifests", c.Name)
		steps = append(steps, plan.Step{ID: id, Title: "Apply manifests of cluster " + c.Name, Needs: after, Ensure: applyManifests(e, c)})
		after = append(slices.Clone(after), id)
	}
	after = append(after, knownAfter(e, []any{c.Charts, c.Objects})...)
	if len(c.Charts) > 0 {
		id := ID(e, "more-charts", c.Name)
		steps = append(steps, plan.Step{ID: id, Title: "Install charts of cluster " + c.Name, Needs: after, Ensure: installProfileCharts(e, c)})
		after = append(after, id)
	}
	if len(c.Objects) > 0 || len(endpointsOf(e, c)) > 0 {
		id := ID(e, "objects", c.Name)
		steps = append(steps, plan.Step{ID: id, Title: "Apply objects of cluster " + c.Name, Needs: after, Ensure: applyObjects(e, c)})
	}
	return steps
}

// Fetches are the steps that come before anything is made, where the profile has
// manifests; Fetched are their ids, which every node needs.
func Fetches(e *environment.Environment) []plan.Step {
	if !slices.ContainsFunc(e.Spec().Clusters, func(c profiles.Cluster) bool { return len(c.Manifests) > 0 }) {
		return nil
	}
	return []plan.Step{{ID: "manifests", Title: "Fetch manifests", Ensure: fetchManifests(e)}}
}

// Fetched are the ids of Fetches.
func Fetched(e *environment.Environment) []string {
	var ids []string
	for _, step := range Fetches(e) {
		ids = append(ids, step.ID)
	}
	return ids
}

// Finally adds to a plan what comes last: trust and connections between
// clusters, and the check, which needs every other step.
func Finally(e *environment.Environment, runtime Runtime, steps []plan.Step) []plan.Step {
	for _, c := range e.Spec().Clusters {
		issuers := c.Trust.Issuers()
		if len(issuers) == 0 {
			continue
		}
		needs := plan.Needs("issuer", ID(e, "api-server", c.Name))
		for _, issuer := range issuers {
			needs = append(needs, ID(e, "access", issuer))
		}
		title := fmt.Sprintf("Make cluster %s trust %s", c.Name, strings.Join(issuers, ", "))
		steps = append(steps, plan.Step{ID: ID(e, "issuers", c.Name), Title: title, Needs: needs, Ensure: ConfigureAuthentication(e, c)})
	}
	for _, c := range e.Spec().Connections {
		title := fmt.Sprintf("Connect cluster %s to %s", c.From, c.To)
		needs := append(plan.Needs(ID(e, "issuers", c.To), ID(e, "access", c.From), ID(e, "access", c.To)), knownAfter(e, c)...)
		ensure := func(ctx context.Context) (bool, error) { return Connect(ctx, e, c, false) }
		steps = append(steps, plan.Step{ID: "connection-" + c.Name, Title: title, Needs: needs, Ensure: ensure})
	}
	if !e.NoPrune {
		steps = append(steps, plan.Step{ID: "prune", Title: "Delete what the profile no longer has", Needs: plan.Last(steps), Ensure: pruneAll(e)})
	}
	return append(steps, plan.Step{ID: "check", Title: "Check identities, permissions and rejections", Needs: plan.Last(steps), Ensure: prove(e, runtime)})
}

// knownAfter are the steps after which the placeholders of a part of a profile
// are known: addresses are from the start, a cluster's CA is not.
func knownAfter(e *environment.Environment, part any) []string {
	var after []string
	for _, name := range profiles.UsedPlaceholders(part) {
		rest, is := strings.CutPrefix(name, "clusters.")
		if cluster, what, _ := strings.Cut(rest, "."); is && what == "ca" {
			after = append(after, ID(e, "api-server", cluster))
		}
	}
	return after
}

func prove(e *environment.Environment, runtime Runtime) plan.Ensure {
	return func(ctx context.Context) (bool, error) {
		report, err := proofs.Check(ctx, e, runtime, proofs.Options{})
		if err != nil {
			return false, err
		}
		return false, CheckFailure(e, report.Error())
	}
}

// CheckFailure gives the failed proofs of a report their class and a hint; nil
// stays nil.
func CheckFailure(e *environment.Environment, err error) error {
	if err == nil {
		return nil
	}
	return failure.New(failure.Rejected, err, "see the API server's own words: devenv logs"+record.NameFlag(e.Name()))
}

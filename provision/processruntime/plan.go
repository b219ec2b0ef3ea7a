// Package processruntime runs an environment as plain processes of the user:
// control planes without nodes, and Dex. No pod ever starts.
//
// Plan is everything that `up` does; the steps are in the other files.
package processruntime

import (
	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/plan"
	"github.com/devenv-oidc/devenv/provision/steps"
)

// Plan is everything that `up` does. A step starts as soon as those it needs
// are done: the needs are the whole order.
func (r *Runtime) Plan() []plan.Step {
	e, c, step, needs := r.env, r.env.First(), plan.NewStep, plan.Needs
	list := []plan.Step{
		step("programs", "Find binaries of Kubernetes and Dex", nil, r.findPrograms),
		step("trust", "Create certificate authority for "+localhost, nil, r.createCAs),
		step("configuration", "Configure trusted issuers", needs("trust"), steps.ConfigureAuthentication(e, c)),
		step("node", "Start control plane of cluster "+c.Name, needs(append(steps.Fetched(e), "programs", "configuration")...), r.startControlPlane(c)),
		step("api-server", "Start API server", needs("node"), r.waitForAPIServer(c)),
		step("dex", "Start Dex", needs("api-server"), r.startDex(c)),
		step("issuer", "Wait for issuer "+e.Issuer(), needs("dex"), steps.WaitForIssuer(e, r.waitForIssuer)),
		step("seed", "Seed clients and users", needs("issuer"), steps.Seed(e, r.dexAdminAddress)),
		step("token", "Wait for first accepted token", needs("seed"), steps.WaitForToken(e, c, r)),
		step("access", "Create namespaces and role bindings", needs("token"), steps.BindRoles(e, c)),
		step("cluster", "Complete cluster "+c.Name, needs("token"), r.completeCluster(c)),
	}
	list = append(list, steps.Fetches(e)...)
	list = append(list, steps.Workloads(e, c, needs("access"))...)
	for _, c := range e.Spec().Clusters[1:] {
		list = append(list, r.planBeside(c)...)
		list = append(list, steps.Workloads(e, c, needs("seed", steps.ID(e, "access", c.Name)))...)
	}
	if e.External() {
		list = steps.WithExternalIssuer(e, list, "dex", "seed")
	}
	return plan.Explained(steps.Finally(e, r, list), r.explain)
}

// planBeside creates another cluster beside the first.
func (r *Runtime) planBeside(c profiles.Cluster) []plan.Step {
	e, step, needs := r.env, plan.NewStep, plan.Needs
	id := func(step string) string { return steps.ID(e, step, c.Name) }
	return []plan.Step{
		step(id("configuration"), "Configure issuers trusted by "+c.Name, needs("trust"), steps.ConfigureAuthentication(e, c)),
		step(id("node"), "Start control plane of cluster "+c.Name, needs("programs", "node", id("configuration")), r.startControlPlane(c)),
		step(id("api-server"), "Start API server of cluster "+c.Name, needs(id("node")), r.waitForAPIServer(c)),
		step(id("token"), "Wait for token accepted by "+c.Name, needs("seed", id("api-server")), steps.WaitForToken(e, c, r)),
		step(id("access"), "Create role bindings in "+c.Name, needs(id("api-server")), steps.BindRoles(e, c)),
		step(id("cluster"), "Complete cluster "+c.Name, needs(id("api-server")), r.completeCluster(c)),
	}
}

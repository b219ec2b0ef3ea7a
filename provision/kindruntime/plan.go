// Package kindruntime runs an environment with kind: every cluster is a
// container that is a node, and Dex runs as pods in the first of them.
//
// Plan is everything that `up` does; the steps are in the other files.
package kindruntime

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
		step("engine", "Find container engine", nil, r.findEngine),
		step("trust", "Create certificate authority for "+domain(e.Name()), nil, r.createCAs),
		step("charts", "Fetch charts", needs("engine"), steps.FetchCharts(e, steps.PinnedCharts...)),
		step("node-image", "Get node image, Kubernetes "+c.KubernetesVersion, needs("engine"), r.getNodeImage(c)),
		step("configuration", "Configure trusted issuers", needs("trust"), steps.ConfigureAuthentication(e, c)),
		step("node", "Start node of cluster "+c.Name, r.fetchedBefore("configuration", "node-image"), r.startNode(c)),
		step("images", "Load images into node", needs("node"), r.loadImages(c)),
		step("api-server", "Start API server", needs("node"), r.waitForAPIServer(c)),
		step("dns", "Add issuer to cluster DNS", needs("api-server"), r.configureDNS(c)),
		step("access", "Create namespaces and role bindings", needs("api-server"), steps.BindRoles(e, c)),
		step("dex", "Install Dex", needs("api-server", "images", "charts"), r.installDex(c)),
		step("cluster", "Complete cluster "+c.Name, needs("api-server"), r.completeCluster(c)),
		step("issuer", "Wait for issuer "+e.Issuer(), needs("dex"), steps.WaitForIssuer(e, r.waitForIssuer)),
		step("seed", "Seed clients and users", needs("issuer"), steps.Seed(e, r.forwardDexAdmin)),
		step("token", "Wait for first accepted token", r.everyAPIServer(c, "seed"), steps.WaitForToken(e, c, r)),
		step("cert-manager", "Install cert-manager", needs("dex"), r.installCertManager(c)),
		step("renewal", r.renewalTitle(), needs("cert-manager", "dex"), r.renewCertificate(c)),
	}
	list = append(list, steps.Fetches(e)...)
	list = append(list, steps.Workloads(e, c, needs("renewal", "dns", "access"))...)
	for _, c := range e.Spec().Clusters[1:] {
		id := func(step string) string { return steps.ID(e, step, c.Name) }
		list = append(list, r.planBeside(c)...)
		list = append(list, steps.Workloads(e, c, needs("seed", id("dns"), id("access"), id("images")))...)
	}
	if e.External() {
		list = steps.WithExternalIssuer(e, list, "dex", "seed")
	}
	return plan.Explained(steps.Finally(e, r, list), r.explainStep)
}

// planBeside creates another cluster beside the first.
func (r *Runtime) planBeside(c profiles.Cluster) []plan.Step {
	e, step, needs := r.env, plan.NewStep, plan.Needs
	id := func(step string) string { return steps.ID(e, step, c.Name) }
	return []plan.Step{
		step(id("node-image"), "Get node image, Kubernetes "+c.KubernetesVersion, needs("node-image"), r.getNodeImage(c)),
		step(id("configuration"), "Configure issuers trusted by "+c.Name, needs("trust"), steps.ConfigureAuthentication(e, c)),
		step(id("node"), "Start node of cluster "+c.Name, r.fetchedBefore(id("configuration"), id("node-image")), r.startNode(c)),
		step(id("images"), "Load images into cluster "+c.Name, needs(id("node")), r.loadImages(c)),
		step(id("api-server"), "Start API server of cluster "+c.Name, needs(id("node")), r.waitForAPIServer(c)),
		step(id("dns"), "Add issuer to DNS of "+c.Name, needs(id("api-server")), r.configureDNS(c)),
		step(id("access"), "Create role bindings in "+c.Name, needs(id("api-server")), steps.BindRoles(e, c)),
		step(id("cluster"), "Complete cluster "+c.Name, needs(id("api-server")), r.completeCluster(c)),
		step(id("token"), "Wait for token accepted by "+c.Name, r.everyAPIServer(c, "seed", id("api-server")), steps.WaitForToken(e, c, r)),
	}
}

func (r *Runtime) renewalTitle() string {
	if r.env.External() {
		return "Let cert-manager sign with the environment's CA"
	}
	return "Renew Dex's certificate automatically"
}

// everyAPIServer adds, where a cluster has several control planes, that all of
// them are there.
func (r *Runtime) everyAPIServer(c profiles.Cluster, ids ...string) []string {
	if c.Several() {
		ids = append(ids, steps.ID(r.env, "cluster", c.Name))
	}
	return ids
}

// fetchedBefore adds charts and manifests to what a node needs, where the profile
// has any: that they can be fetched and rendered is known before a node exists.
func (r *Runtime) fetchedBefore(ids ...string) []string {
	ids = append(ids, steps.Fetched(r.env)...)
	for _, c := range r.env.Spec().Clusters {
		if len(c.Charts) > 0 {
			return append(ids, "charts")
		}
	}
	return ids
}

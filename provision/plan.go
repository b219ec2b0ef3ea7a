package provision

import (
	"context"
	"fmt"
	"strings"

	"github.com/devenv-oidc/devenv/profiles"
)

// The plans are everything `up` does, one for each runtime. A step starts as
// soon as those it needs are done, so the needs are the whole order. Steps hand
// nothing to each other: each reads what it needs from the environment's files
// and from the cluster.

func (k *kindRuntime) plan() []Step {
	main := k.first()
	on := func(step clusterStep) ensure { return step.on(main) }
	steps := []Step{
		{"engine", "Container engine", nil, k.ensureEngine},
		{"trust", "Certificate authority, constrained to " + k.domain(), nil, k.ensureTrust},
		{"charts", k.chartsTitle(), needs("engine"), k.ensureCharts},
		{"node-image", "Node image, Kubernetes " + main.KubernetesVersion, needs("engine"), on(k.ensureNodeImage)},
		{"configuration", "Issuers that cluster " + main.Name + " trusts", needs("trust"), on(k.ensureConfiguration)},
		{"node", "Node of cluster " + main.Name, k.beforeNodes("configuration", "node-image"), on(k.ensureNode)},
		{"images", "Images of Dex and cert-manager in the node", needs("node"), on(k.ensureImages)},
		{"api-server", "API server that trusts " + k.issuerHost(), needs("node"), on(k.ensureAPIServer)},
		{"dns", "Issuer's name in cluster DNS", needs("api-server"), on(k.ensureDNS)},
		{"access", "Namespaces and role bindings", needs("api-server"), on(k.ensureAccess)},
		{"dex", "Dex, chart and certificates", needs("api-server", "images", "charts"), on(k.ensureDex)},
		{"cluster", "Cluster " + main.Name + " complete, flags in place", needs("api-server"), on(k.ensureCluster)},
		{"issuer", "Issuer answers on " + k.Issuer(), needs("dex"), k.ensureIssuer},
		{"seed", "Clients and users, over gRPC", needs("issuer"), on(k.ensureSeed)},
		{"token", "First token accepted by the API server", needs("seed"), on(k.ensureToken)},
		{"cert-manager", "cert-manager, chart", needs("api-server", "images", "charts", "token"), on(k.ensureCertManager)},
		{"renewal", "Dex's certificate issued and kept renewed", needs("cert-manager", "dex"), on(k.ensureRenewal)},
	}
	steps = append(steps, k.planWorkloads(main, needs("renewal", "dns", "access"))...)
	for _, c := range k.record.Profile.Spec.Clusters[1:] {
		steps = append(steps, k.planBeside(c)...)
		steps = append(steps, k.planWorkloads(c, needs("seed", k.stepOf("dns", c.Name), k.stepOf("access", c.Name), k.stepOf("images", c.Name)))...)
	}
	return k.planEnd(steps)
}

func (k *kindRuntime) chartsTitle() string {
	title := "Charts of Dex and cert-manager"
	for _, c := range k.record.Profile.Spec.Clusters {
		for _, x := range c.Charts {
			title += ", " + x.Name
		}
	}
	return title
}

// beforeNodes is what a node needs: where the profile has charts of its own, that
// they can be had and rendered.
func (k *kindRuntime) beforeNodes(ids ...string) []string {
	for _, c := range k.record.Profile.Spec.Clusters {
		if len(c.Charts) > 0 {
			return append(ids, "charts")
		}
	}
	return ids
}

// planBeside makes another cluster beside the first.
func (k *kindRuntime) planBeside(c profiles.Cluster) []Step {
	id := func(step string) string { return step + "-" + c.Name }
	on := func(step clusterStep) ensure { return step.on(c) }
	return []Step{
		{id("node-image"), "Node image, Kubernetes " + c.KubernetesVersion, needs("node-image"), on(k.ensureNodeImage)},
		{id("configuration"), "Issuers that cluster " + c.Name + " trusts", needs("trust"), on(k.ensureConfiguration)},
		{id("node"), "Node of cluster " + c.Name, k.beforeNodes(id("configuration"), id("node-image")), on(k.ensureNode)},
		{id("images"), "Images in the node of cluster " + c.Name, needs(id("node")), on(k.ensureImages)},
		{id("api-server"), "API server of cluster " + c.Name, needs(id("node")), on(k.ensureAPIServer)},
		{id("dns"), "Issuer's name in the DNS of cluster " + c.Name, needs(id("api-server")), on(k.ensureDNS)},
		{id("access"), "Namespaces and role bindings of cluster " + c.Name, needs(id("api-server")), on(k.ensureAccess)},
		{id("cluster"), "Cluster " + c.Name + " complete, flags in place", needs(id("api-server")), on(k.ensureCluster)},
		{id("token"), "First token accepted by cluster " + c.Name, needs("seed", id("api-server")), on(k.ensureToken)},
	}
}

func (p *processRuntime) plan() []Step {
	main := p.first()
	on := func(step clusterStep) ensure { return step.on(main) }
	steps := []Step{
		{"programs", "Programs of Kubernetes and Dex", nil, p.ensurePrograms},
		{"trust", "Certificate authority, constrained to " + p.issuerHost(), nil, p.ensureTrust},
		{"configuration", "Issuers that cluster " + main.Name + " trusts", needs("trust"), on(p.ensureConfiguration)},
		{"node", "etcd and API server of cluster " + main.Name, needs("programs", "configuration"), on(p.ensureNode)},
		{"api-server", "API server that trusts " + p.issuerHost(), needs("node"), on(p.ensureAPIServer)},
		{"dex", "Dex, its storage and certificates", needs("api-server"), on(p.ensureDex)},
		{"issuer", "Issuer answers on " + p.Issuer(), needs("dex"), p.ensureIssuer},
		{"seed", "Clients and users, over gRPC", needs("issuer"), on(p.ensureSeed)},
		{"token", "First token accepted by the API server", needs("seed"), on(p.ensureToken)},
		{"access", "Namespaces and role bindings", needs("token"), on(p.ensureAccess)},
		{"cluster", "Cluster " + main.Name + " complete, roles gathered", needs("token"), on(p.ensureCluster)},
	}
	steps = append(steps, p.planWorkloads(main, needs("access"))...)
	for _, c := range p.record.Profile.Spec.Clusters[1:] {
		steps = append(steps, p.planBeside(c)...)
		steps = append(steps, p.planWorkloads(c, needs("seed", p.stepOf("access", c.Name)))...)
	}
	return p.planEnd(steps)
}

// planBeside makes another cluster beside the first.
func (p *processRuntime) planBeside(c profiles.Cluster) []Step {
	id := func(step string) string { return step + "-" + c.Name }
	on := func(step clusterStep) ensure { return step.on(c) }
	return []Step{
		{id("configuration"), "Issuers that cluster " + c.Name + " trusts", needs("trust"), on(p.ensureConfiguration)},
		{id("node"), "etcd and API server of cluster " + c.Name, needs("programs", "node", id("configuration")), on(p.ensureNode)},
		{id("api-server"), "API server of cluster " + c.Name, needs(id("node")), on(p.ensureAPIServer)},
		{id("token"), "First token accepted by cluster " + c.Name, needs("seed", id("api-server")), on(p.ensureToken)},
		{id("access"), "Namespaces and role bindings of cluster " + c.Name, needs(id("api-server")), on(p.ensureAccess)},
		{id("cluster"), "Cluster " + c.Name + " complete, roles gathered", needs(id("api-server")), on(p.ensureCluster)},
	}
}

// planEnd adds what is the same on both runtimes: trust between clusters, and
// the check, which needs everything.
func (e *Environment) planEnd(steps []Step) []Step {
	for _, c := range e.record.Profile.Spec.Clusters {
		if issuers := c.Trust.Issuers(); len(issuers) > 0 {
			after := needs("issuer", e.stepOf("api-server", c.Name))
			for _, issuer := range issuers {
				after = append(after, e.stepOf("access", issuer))
			}
			title := fmt.Sprintf("Cluster %s trusts %s", c.Name, strings.Join(issuers, ", "))
			steps = append(steps, Step{e.stepOf("issuers", c.Name), title, after, clusterStep(e.ensureConfiguration).on(c)})
		}
	}
	for _, c := range e.record.Profile.Spec.Connections {
		title := fmt.Sprintf("Kubeconfig for cluster %s in cluster %s", c.To, c.From)
		after := append(needs(e.stepOf("issuers", c.To), e.stepOf("access", c.From), e.stepOf("access", c.To)), e.knownAfter(c)...)
		steps = append(steps, Step{"connection-" + c.Name, title, after, func(ctx context.Context) (bool, error) { return e.ensureConnection(ctx, c, false) }})
	}
	return append(steps, Step{"check", "Check: identities, rights, refusals, kubectl", last(steps), e.ensureProof})
}

// stepOf is a step's id for a cluster: those of the first have none of its name.
func (e *Environment) stepOf(step, cluster string) string {
	if cluster == e.first().Name {
		return step
	}
	return step + "-" + cluster
}

// last are the steps that no other step needs.
func last(steps []Step) []string {
	needed := map[string]bool{}
	for _, s := range steps {
		for _, id := range s.Needs {
			needed[id] = true
		}
	}
	var ids []string
	for _, s := range steps {
		if !needed[s.ID] {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

type (
	ensure      = func(context.Context) (changed bool, err error)
	clusterStep func(context.Context, profiles.Cluster) (changed bool, err error)
)

// on is the step for one cluster.
func (s clusterStep) on(c profiles.Cluster) ensure {
	return func(ctx context.Context) (bool, error) { return s(ctx, c) }
}

func needs(ids ...string) []string { return ids }

// Plan lists what Up would do for a request. It makes nothing.
func Plan(ctx context.Context, r UpRequest) ([]Step, error) {
	if err := checkName(r.Name); err != nil {
		return nil, err
	}
	old, err := r.Home.Dir(r.Name).Record()
	if err != nil {
		old = nil // none, or none that can be read: as for the first time
	}
	if err := Validate(r.Profile); err != nil {
		return nil, err
	}
	runtime, _, err := settleRuntime(ctx, r, old)
	if err != nil {
		return nil, err
	}
	record, err := resolve(r.Home, r.Name, runtime, r.Profile, old)
	if err != nil {
		return nil, err
	}
	return newEnvironment(r.Home, record).runtime.plan(), nil
}

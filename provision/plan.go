package provision

import (
	"context"

	"github.com/devenv-oidc/devenv/profiles"
)

// The plans are everything `up` does, one for each runtime. A step starts as
// soon as those it needs are done, so the needs are the whole order. Steps hand
// nothing to each other: each reads what it needs from the environment's files
// and from the cluster.

func (k *kindRuntime) plan() []Step {
	main := k.record.Profile.Spec.Clusters[0]
	on := func(step clusterStep) ensure { return step.on(main) }
	return []Step{
		{"engine", "Container engine", nil, k.ensureEngine},
		{"trust", "Certificate authority, constrained to " + k.domain(), nil, k.ensureTrust},
		{"charts", "Charts of Dex and cert-manager", needs("engine"), k.ensureCharts},
		{"node-image", "Node image, Kubernetes " + main.KubernetesVersion, needs("engine"), on(k.ensureNodeImage)},
		{"configuration", "Issuers that cluster " + main.Name + " trusts", needs("trust"), on(k.ensureConfiguration)},
		{"node", "Node of cluster " + main.Name, needs("configuration", "node-image"), on(k.ensureNode)},
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
		{"check", "Check: identities, rights, refusals, kubectl", needs("token", "access", "dns", "cluster", "renewal"), k.ensureProof},
	}
}

func (p *processRuntime) plan() []Step {
	all := p.record.Profile.Spec.Clusters
	id := func(step string, c profiles.Cluster) string { // those of the first cluster are named as with kind
		if c.Name == all[0].Name {
			return step
		}
		return step + "-" + c.Name
	}
	steps := []Step{
		{"programs", "Programs of Kubernetes and Dex", nil, p.ensurePrograms},
		{"trust", "Certificate authority, constrained to " + p.issuerHost(), nil, p.ensureTrust},
	}
	for _, c := range all {
		steps = append(steps,
			Step{id("configuration", c), "Issuers that cluster " + c.Name + " trusts", needs("trust"), clusterStep(p.ensureConfiguration).on(c)},
			Step{id("node", c), "etcd and API server of cluster " + c.Name, needs("programs", id("configuration", c)), clusterStep(p.ensureNode).on(c)},
			Step{id("api-server", c), "API server that trusts " + p.issuerHost(), needs(id("node", c)), clusterStep(p.ensureAPIServer).on(c)},
		)
	}
	steps = append(steps,
		Step{"dex", "Dex, its storage and certificates", needs("api-server"), clusterStep(p.ensureDex).on(all[0])},
		Step{"issuer", "Issuer answers on " + p.Issuer(), needs("dex"), p.ensureIssuer},
		Step{"seed", "Clients and users, over gRPC", needs("issuer"), clusterStep(p.ensureSeed).on(all[0])},
	)
	check := Step{"check", "Check: identities, rights, refusals, kubectl", nil, p.ensureProof}
	for _, c := range all {
		steps = append(steps,
			Step{id("token", c), "First token accepted by the API server", needs("seed", id("api-server", c)), clusterStep(p.ensureToken).on(c)},
			Step{id("access", c), "Namespaces and role bindings", needs(id("token", c)), clusterStep(p.ensureAccess).on(c)},
			Step{id("cluster", c), "Cluster " + c.Name + " complete, roles gathered", needs(id("token", c)), clusterStep(p.ensureCluster).on(c)},
		)
		check.Needs = append(check.Needs, id("token", c), id("access", c), id("cluster", c))
	}
	return append(steps, check)
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

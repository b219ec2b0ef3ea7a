package provision

import (
	"context"

	"github.com/devenv-oidc/devenv/profiles"
)

// plan is everything `up` does. A step starts as soon as those it needs are
// done, so the needs are the whole order. Steps hand nothing to each other:
// each reads what it needs from the environment's files and from the cluster.
func (e *Environment) plan() []Step {
	main := e.record.Profile.Spec.Clusters[0]
	on := func(step func(context.Context, profiles.Cluster) (bool, error)) func(context.Context) (bool, error) {
		return func(ctx context.Context) (bool, error) { return step(ctx, main) }
	}
	return []Step{
		{"engine", "Container engine", nil, e.ensureEngine},
		{"trust", "Certificate authority, constrained to " + e.domain(), nil, e.ensureTrust},
		{"charts", "Charts of Dex and cert-manager", needs("engine"), e.ensureCharts},
		{"node-image", "Node image, Kubernetes " + main.KubernetesVersion, needs("engine"), on(e.ensureNodeImage)},
		{"node", "Node of cluster " + main.Name, needs("trust", "node-image"), on(e.ensureNode)},
		{"images", "Images of Dex and cert-manager in the node", needs("node"), on(e.ensureImages)},
		{"api-server", "API server that trusts " + e.issuerHost(), needs("node"), on(e.ensureAPIServer)},
		{"dns", "Issuer's name in cluster DNS", needs("api-server"), on(e.ensureDNS)},
		{"access", "Namespaces and role bindings", needs("api-server"), on(e.ensureAccess)},
		{"dex", "Dex, chart and certificates", needs("api-server", "images", "charts"), on(e.ensureDex)},
		{"cluster", "Cluster " + main.Name + " complete, flags in place", needs("api-server"), on(e.ensureCluster)},
		{"issuer", "Issuer answers on " + e.Issuer(), needs("dex"), e.ensureIssuer},
		{"seed", "Clients and users, over gRPC", needs("issuer"), on(e.ensureSeed)},
		{"token", "First token accepted by the API server", needs("seed"), on(e.ensureToken)},
		{"cert-manager", "cert-manager, chart", needs("api-server", "images", "charts", "token"), on(e.ensureCertManager)},
		{"renewal", "Dex's certificate issued and kept renewed", needs("cert-manager", "dex"), on(e.ensureRenewal)},
		{"check", "Check: identities, rights, refusals, kubectl", needs("token", "access", "dns", "cluster", "renewal"), e.ensureProof},
	}
}

func needs(ids ...string) []string { return ids }

// Plan lists what Up would do for a request. It makes nothing.
func Plan(r UpRequest) ([]Step, error) {
	if err := checkName(r.Name); err != nil {
		return nil, err
	}
	old, err := r.Home.Dir(r.Name).Record()
	if err != nil {
		old = nil // none, or none that can be read: as for the first time
	}
	record, err := resolve(r.Home, r.Name, r.Profile, old)
	if err != nil {
		return nil, err
	}
	return newEnvironment(r.Home, record).plan(), nil
}

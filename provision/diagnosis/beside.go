package diagnosis

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devenv-oidc/devenv/provision/certificates"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/steps"
)

// dns is how pods find the issuer.
func (d *login) dns(ctx context.Context) finding {
	admin, err := d.Admin(d.cluster.Name)
	if err != nil {
		return failed(err.Error(), d.again())
	}
	config, err := admin.Core.CoreV1().ConfigMaps("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
	if err != nil {
		return failed(fmt.Sprintf("could not read CoreDNS's configuration: %v", err), d.again())
	}
	if !strings.Contains(config.Data["Corefile"], "rewrite name exact "+d.IssuerHost()+" ") {
		return failed("CoreDNS has no rule for "+d.IssuerHost()+", so that pods do not find the issuer", d.again())
	}
	if err := admin.Available(ctx, "kube-system", "coredns"); err != nil {
		return failed("CoreDNS does not run: "+err.Error(), d.again())
	}
	return ok("CoreDNS runs, and leads " + d.IssuerHost() + " to the issuer")
}

// certificates is whether Dex's certificate will be renewed.
func (d *login) certificates(ctx context.Context) finding {
	admin, err := d.Admin(d.First().Name)
	if err != nil {
		return failed(err.Error(), d.again())
	}
	for _, name := range certificates.Deployments {
		if scale, err := admin.Core.AppsV1().Deployments(certificates.Namespace).GetScale(ctx, name, metav1.GetOptions{}); err == nil && scale.Spec.Replicas == 0 {
			return failed(fmt.Sprintf("cert-manager's Deployment %s/%s does not run: it is scaled to 0", certificates.Namespace, name), d.again())
		}
		if err := admin.Available(ctx, certificates.Namespace, name); err != nil {
			return failed(fmt.Sprintf("cert-manager's Deployment %s/%s does not run: %v", certificates.Namespace, name, err), d.again())
		}
	}
	return ok("cert-manager runs")
}

// workloads are the profile's own.
func (d *login) workloads(ctx context.Context) finding {
	count := 0
	for _, c := range d.Spec().Clusters {
		admin, err := d.Admin(c.Name)
		if err != nil {
			return failed(err.Error(), d.again())
		}
		objects, err := steps.Objects(ctx, d.Environment, c)
		if err != nil {
			return failed(err.Error(), d.again())
		}
		for _, name := range kube.Deployments(objects) {
			if err := admin.Available(ctx, name.Namespace, name.Name); err != nil {
				return failed(fmt.Sprintf("the Deployment %s in cluster %s does not run: %v", name, c.Name, err), d.again())
			}
			count++
		}
		for _, o := range kube.Awaited(objects) {
			if err := admin.Ready(ctx, o); err != nil {
				return failed(fmt.Sprintf("%s in cluster %s is not ready: %v", kube.NameOf(o), c.Name, err), d.again())
			}
			count++
		}
	}
	return ok(fmt.Sprintf("%d workloads of the profile run", count))
}

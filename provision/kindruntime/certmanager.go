package kindruntime

import (
	"context"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/certificates"
	"github.com/devenv-oidc/devenv/provision/chart"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/plan"
	"github.com/devenv-oidc/devenv/provision/steps"
)

func (r *Runtime) installCertManager(c profiles.Cluster) plan.Ensure {
	return func(ctx context.Context) (changed bool, err error) {
		admin, err := r.env.Admin(c.Name)
		if err != nil {
			return false, err
		}
		if _, err := admin.EnsureNamespace(ctx, certificates.Namespace); err != nil {
			return false, err
		}
		changed, err = steps.InstallPinnedChart(ctx, r.env, admin, "cert-manager", chart.Release{
			Name: certificates.Release, Namespace: certificates.Namespace, Adjust: chart.ReadyAtOnce, Values: certificates.Values(r.env.Record.Pins.Charts["cert-manager"]),
		}, r.env.Spec().CertManager.Values)
		if err != nil {
			return changed, err
		}
		for _, d := range certificates.Deployments {
			scaled, err := admin.EnsureScaled(ctx, certificates.Namespace, d, 1)
			if changed = changed || scaled; err != nil {
				return changed, err
			}
			if err := admin.WaitAvailable(ctx, certificates.Namespace, d); err != nil {
				return changed, err
			}
		}
		return changed, nil
	}
}

// renewCertificate has cert-manager sign with the environment's CA, hands Dex's
// certificate to it, and makes Dex serve what it renews.
func (r *Runtime) renewCertificate(c profiles.Cluster) plan.Ensure {
	return func(ctx context.Context) (changed bool, err error) {
		admin, err := r.env.Admin(c.Name)
		if err != nil {
			return false, err
		}
		ca, err := r.env.CA()
		if err != nil {
			return false, err
		}
		if r.env.External() {
			return certificates.EnsureIssuer(ctx, admin, ca.CertPEM, ca.KeyPEM)
		}
		issued, err := certificates.EnsureIssuer(ctx, admin, ca.CertPEM, ca.KeyPEM, r.dexCertificate())
		if err != nil {
			return issued, err
		}
		watched, err := admin.Apply(ctx, identity.Watcher(steps.DexImage(r.env))...)
		if err != nil {
			return issued, err
		}
		scaled, err := admin.EnsureScaled(ctx, identity.Namespace, identity.WatcherName, 1)
		if err != nil {
			return issued || watched || scaled, err
		}
		return issued || watched || scaled, admin.WaitAvailable(ctx, identity.Namespace, identity.WatcherName)
	}
}

// RenewCertificate has Dex's certificate issued anew by cert-manager.
func (r *Runtime) RenewCertificate(ctx context.Context) error {
	admin, err := r.env.Admin(r.env.First().Name)
	if err != nil {
		return err
	}
	return certificates.Renew(ctx, admin, r.dexCertificate())
}

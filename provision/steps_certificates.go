package provision

import (
	"context"
	"time"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/certificates"
	"github.com/devenv-oidc/devenv/provision/chart"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/kube"
)

// certificateLifetime is cert-manager's own default.
const certificateLifetime = 90 * 24 * time.Hour

func (e *Environment) dexCertificate() certificates.Certificate {
	return certificates.Certificate{
		Namespace: identity.Namespace, Name: identity.ServingSecret, Secret: identity.ServingSecret, DNSNames: []string{e.issuerHost()},
	}
}

// ensureServingSecret returns the certificate that Dex serves, or will.
func (e *Environment) ensureServingSecret(ctx context.Context, admin *kube.Client) (certPEM []byte, changed bool, err error) {
	have, err := secretData(ctx, admin, identity.Namespace, identity.ServingSecret, "tls.crt")
	if err != nil || len(have) > 0 {
		return have, false, err
	}
	authority, err := e.authority()
	if err != nil {
		return nil, false, err
	}
	pair, err := authority.ServerPair(certificateLifetime, e.issuerHost())
	if err != nil {
		return nil, false, err
	}
	_, err = admin.Apply(ctx, e.dexCertificate().PreparedSecret(pair.CertPEM, pair.KeyPEM, authority.CertPEM))
	return pair.CertPEM, true, err
}

func (e *Environment) ensureCertManager(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	admin, err := e.admin(c.Name)
	if err != nil {
		return false, err
	}
	if _, err := admin.Apply(ctx, kube.Object{
		"apiVersion": "v1", "kind": "Namespace", "metadata": kube.Object{"name": certificates.Namespace, "labels": kube.ManagedLabels()},
	}); err != nil {
		return false, err
	}
	values := certificates.Values(e.pins.Charts["cert-manager"])
	changed, err = e.ensureChart(ctx, admin, "cert-manager", chart.Release{
		Name: certificates.Release, Namespace: certificates.Namespace,
		Values: chart.Overlay(values, e.record.Profile.Spec.CertManager.Values),
	})
	if err != nil {
		return changed, err
	}
	for _, d := range certificates.Deployments {
		if err := admin.WaitAvailable(ctx, certificates.Namespace, d); err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// ensureRenewal hands Dex's certificate to cert-manager, and makes Dex serve
// what cert-manager renews.
func (e *Environment) ensureRenewal(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	admin, err := e.admin(c.Name)
	if err != nil {
		return false, err
	}
	authority, err := e.authority()
	if err != nil {
		return false, err
	}
	issued, err := certificates.EnsureIssuer(ctx, admin, authority.CertPEM, authority.KeyPEM, e.dexCertificate())
	if err != nil {
		return issued, err
	}
	watched, err := admin.Apply(ctx, identity.Watcher(e.pins.Charts["dex"].Images[""])...)
	if err != nil {
		return issued, err
	}
	return issued || watched, admin.WaitAvailable(ctx, identity.Namespace, identity.WatcherName)
}

package provision

import (
	"context"
	"encoding/base64"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/certificates"
	"github.com/devenv-oidc/devenv/provision/chart"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/trust"
)

func (k *kindRuntime) chartSource(name string) chart.Source {
	pin := k.pins.Charts[name]
	return chart.Source{Name: name, Repository: pin.Repository, Path: pin.Path, Version: pin.Version, SHA256: pin.SHA256}
}

// ensureCharts fetches charts while the cluster is being made: a wrong digest or
// a missing network ends `up` in its first second.
func (k *kindRuntime) ensureCharts(context.Context) (changed bool, err error) {
	cache, err := cacheFolder("charts")
	if err != nil {
		return false, err
	}
	for _, name := range []string{"dex", "cert-manager"} {
		if _, err := k.chartSource(name).Load(cache); err != nil {
			return false, failure.New(failure.Prerequisite, err, "where no network is to be had, set DEVENV_SOURCES to a sources file; see the README")
		}
	}
	return false, k.tryCharts(cache)
}

// ensureDex installs Dex with a certificate signed here and now: cert-manager
// takes it over when it is up.
func (k *kindRuntime) ensureDex(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	admin, err := k.admin(c.Name)
	if err != nil {
		return false, err
	}
	changed, err = admin.Apply(ctx, kube.Object{
		"apiVersion": "v1", "kind": "Namespace", "metadata": kube.Object{"name": identity.Namespace, "labels": kube.ManagedLabels()},
	})
	if err != nil {
		return false, err
	}
	did, err := admin.Apply(ctx, append(identity.CRDs(), identity.IssuerService(k.record.IssuerPort))...)
	if err != nil {
		return changed, err
	}
	serving, madeServing, err := k.ensureServingSecret(ctx, admin)
	if err != nil {
		return changed, err
	}
	madeGRPC, err := k.ensureGRPCSecret(ctx, admin)
	if err != nil {
		return changed, err
	}
	values, err := identity.Values(k.dexSettings(trust.Fingerprint(serving)))
	if err != nil {
		return changed, err
	}
	installed, err := k.ensureChart(ctx, admin, "dex", chart.Release{
		Name: identity.Release, Namespace: identity.Namespace, Adjust: identity.Adjust,
		Values: chart.Overlay(values, k.record.Profile.Spec.Dex.Values),
	})
	return changed || did || madeServing || madeGRPC || installed, err
}

// ensureChart installs the chart that is pinned under a name.
func (k *kindRuntime) ensureChart(ctx context.Context, admin *kube.Client, name string, release chart.Release) (changed bool, err error) {
	cache, err := cacheFolder("charts")
	if err != nil {
		return false, err
	}
	if release.Chart, err = k.chartSource(name).Load(cache); err != nil {
		return false, err
	}
	log := &lazyFile{path: k.LogFile("helm-" + release.Name)}
	return chart.Ensure(ctx, admin, func(format string, args ...any) { fmt.Fprintf(log, format+"\n", args...) }, release)
}

// secretData reads one field of a Secret; nil where there is none.
func secretData(ctx context.Context, client *kube.Client, namespace, name, field string) ([]byte, error) {
	secret, err := client.Core.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("could not read the Secret %s/%s: %w", namespace, name, err)
	}
	return secret.Data[field], nil
}

// ensureGRPCSecret gives Dex its gRPC certificate, for as long as the
// environment's authority itself: nothing renews it.
func (k *kindRuntime) ensureGRPCSecret(ctx context.Context, admin *kube.Client) (changed bool, err error) {
	have, err := secretData(ctx, admin, identity.Namespace, identity.GRPCSecret, "tls.crt")
	if err != nil || len(have) > 0 {
		return false, err
	}
	authority, err := k.grpcAuthority()
	if err != nil {
		return false, err
	}
	pair, err := authority.ServerPair(trust.Lifetime, identity.GRPCServerName)
	if err != nil {
		return false, err
	}
	encode := base64.StdEncoding.EncodeToString
	return admin.Apply(ctx, kube.Object{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
		"metadata": kube.Object{"name": identity.GRPCSecret, "namespace": identity.Namespace, "labels": kube.ManagedLabels()},
		"data":     kube.Object{"tls.crt": encode(pair.CertPEM), "tls.key": encode(pair.KeyPEM), "client-ca.crt": encode(authority.CertPEM)},
	})
}

// certificateLifetime is cert-manager's own default.
const certificateLifetime = 90 * 24 * time.Hour

func (k *kindRuntime) dexCertificate() certificates.Certificate {
	return certificates.Certificate{
		Namespace: identity.Namespace, Name: identity.ServingSecret, Secret: identity.ServingSecret, DNSNames: []string{k.issuerHost()},
	}
}

// ensureServingSecret returns the certificate that Dex serves, or will.
func (k *kindRuntime) ensureServingSecret(ctx context.Context, admin *kube.Client) (certPEM []byte, changed bool, err error) {
	have, err := secretData(ctx, admin, identity.Namespace, identity.ServingSecret, "tls.crt")
	if err != nil || len(have) > 0 {
		return have, false, err
	}
	authority, err := k.authority()
	if err != nil {
		return nil, false, err
	}
	pair, err := authority.ServerPair(certificateLifetime, k.issuerHost())
	if err != nil {
		return nil, false, err
	}
	_, err = admin.Apply(ctx, k.dexCertificate().PreparedSecret(pair.CertPEM, pair.KeyPEM, authority.CertPEM))
	return pair.CertPEM, true, err
}

func (k *kindRuntime) ensureCertManager(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	admin, err := k.admin(c.Name)
	if err != nil {
		return false, err
	}
	if _, err := admin.Apply(ctx, kube.Object{
		"apiVersion": "v1", "kind": "Namespace", "metadata": kube.Object{"name": certificates.Namespace, "labels": kube.ManagedLabels()},
	}); err != nil {
		return false, err
	}
	values := certificates.Values(k.pins.Charts["cert-manager"])
	changed, err = k.ensureChart(ctx, admin, "cert-manager", chart.Release{
		Name: certificates.Release, Namespace: certificates.Namespace,
		Values: chart.Overlay(values, k.record.Profile.Spec.CertManager.Values),
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
func (k *kindRuntime) ensureRenewal(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	admin, err := k.admin(c.Name)
	if err != nil {
		return false, err
	}
	authority, err := k.authority()
	if err != nil {
		return false, err
	}
	issued, err := certificates.EnsureIssuer(ctx, admin, authority.CertPEM, authority.KeyPEM, k.dexCertificate())
	if err != nil {
		return issued, err
	}
	watched, err := admin.Apply(ctx, identity.Watcher(k.dexImage())...)
	if err != nil {
		return issued, err
	}
	return issued || watched, admin.WaitAvailable(ctx, identity.Namespace, identity.WatcherName)
}

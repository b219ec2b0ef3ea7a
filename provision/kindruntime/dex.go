package kindruntime

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
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/plan"
	"github.com/devenv-oidc/devenv/provision/steps"
	"github.com/devenv-oidc/devenv/provision/trust"
)

// installDex installs Dex with a certificate signed by devenv: cert-manager
// adopts it later.
func (r *Runtime) installDex(c profiles.Cluster) plan.Ensure {
	return func(ctx context.Context) (changed bool, err error) {
		admin, err := r.env.Admin(c.Name)
		if err != nil {
			return false, err
		}
		made, err := admin.EnsureNamespace(ctx, identity.Namespace)
		if changed = made; err != nil {
			return false, err
		}
		madeService, err := r.applyIssuerService(ctx, admin)
		if err != nil {
			return changed, err
		}
		did, err := admin.Apply(ctx, identity.CRDs()...)
		if err != nil {
			return changed, err
		}
		serving, madeServing, err := r.ensureServingSecret(ctx, admin)
		if err != nil {
			return changed, err
		}
		grpc, madeGRPC, err := r.ensureGRPCSecret(ctx, admin)
		if err != nil {
			return changed, err
		}
		settings, err := steps.DexSettings(r.env, trust.Fingerprint(serving))
		if err != nil {
			return changed, err
		}
		settings.GRPCCertificate = trust.Fingerprint(grpc)
		values, err := identity.Values(settings)
		if err != nil {
			return changed, err
		}
		installed, err := steps.InstallPinnedChart(ctx, r.env, admin, "dex", chart.Release{
			Name: identity.Release, Namespace: identity.Namespace, Adjust: chart.ReadyAtOnce, Values: values,
		}, settings.Dex.Values)
		changed = changed || did || madeService || madeServing || madeGRPC || installed
		if err != nil {
			return changed, err
		}
		scaled, err := admin.EnsureScaled(ctx, identity.Namespace, identity.Release, 1)
		if changed = changed || scaled; err != nil || made {
			return changed, err // a Dex that starts makes its keys
		}
		rolled, err := rollWithoutKeys(ctx, admin)
		return changed || rolled, err
	}
}

// rollWithoutKeys rolls a Dex whose keys are no longer in its storage.
func rollWithoutKeys(ctx context.Context, admin *kube.Client) (changed bool, err error) {
	if has, err := identity.HasKeys(ctx, admin); err != nil || has {
		return false, err
	}
	return admin.AnnotatePods(ctx, identity.Namespace, identity.Release, "devenv.dev/keys-lost", time.Now().UTC().Format(time.RFC3339))
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

// ensureGRPCSecret returns Dex's gRPC certificate. It is signed for as long as
// its CA is valid: nothing but `up` renews it.
func (r *Runtime) ensureGRPCSecret(ctx context.Context, admin *kube.Client) (certPEM []byte, changed bool, err error) {
	have, err := secretData(ctx, admin, identity.Namespace, identity.GRPCSecret, "tls.crt")
	if err != nil {
		return nil, false, err
	}
	ca, err := r.env.GRPCCA()
	if err != nil {
		return nil, false, err
	}
	if ca.Signed(have, identity.GRPCServerName, soon) {
		return have, false, nil
	}
	pair, err := ca.ServerPair(trust.Lifetime, identity.GRPCServerName)
	if err != nil {
		return nil, false, err
	}
	encode := base64.StdEncoding.EncodeToString
	_, err = admin.Apply(ctx, kube.Object{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
		"metadata": kube.Object{"name": identity.GRPCSecret, "namespace": identity.Namespace, "labels": kube.ManagedLabels()},
		"data":     kube.Object{"tls.crt": encode(pair.CertPEM), "tls.key": encode(pair.KeyPEM), "client-ca.crt": encode(ca.CertPEM)},
	})
	return pair.CertPEM, true, err
}

// certificateLifetime is cert-manager's own default.
const certificateLifetime = 90 * 24 * time.Hour

// soon is when a certificate that is about to expire is no longer waited for:
// cert-manager, which renews Dex's in its last third, may not run.
const soon = time.Hour

func (r *Runtime) dexCertificate() certificates.Certificate {
	return certificates.Certificate{
		Namespace: identity.Namespace, Name: identity.ServingSecret, Secret: identity.ServingSecret, DNSNames: []string{r.env.IssuerHost()},
	}
}

// ensureServingSecret returns the certificate that Dex serves, or will.
func (r *Runtime) ensureServingSecret(ctx context.Context, admin *kube.Client) (certPEM []byte, changed bool, err error) {
	have, err := secretData(ctx, admin, identity.Namespace, identity.ServingSecret, "tls.crt")
	if err != nil {
		return nil, false, err
	}
	ca, err := r.env.CA()
	if err != nil {
		return nil, false, err
	}
	if ca.Signed(have, r.env.IssuerHost(), soon) {
		return have, false, nil
	}
	pair, err := ca.ServerPair(certificateLifetime, r.env.IssuerHost())
	if err != nil {
		return nil, false, err
	}
	_, err = admin.Apply(ctx, r.dexCertificate().PreparedSecret(pair.CertPEM, pair.KeyPEM, ca.CertPEM))
	return pair.CertPEM, true, err
}

// waitForIssuer waits for Dex's Deployment, and then asks until the issuer
// answers.
func (r *Runtime) waitForIssuer(ctx context.Context, ask func(context.Context) error) error {
	admin, err := r.env.Admin(r.env.First().Name)
	if err != nil {
		return err
	}
	if err := admin.WaitAvailable(ctx, identity.Namespace, identity.Release); err != nil {
		return err
	}
	return kube.Poll(ctx, "the issuer "+r.env.Issuer(), ask)
}

// forwardDexAdmin forwards a port of this host to Dex's pod.
func (r *Runtime) forwardDexAdmin(ctx context.Context) (address string, stop func(), err error) {
	admin, err := r.env.Admin(r.env.First().Name)
	if err != nil {
		return "", nil, err
	}
	return identity.ForwardAdmin(ctx, admin)
}

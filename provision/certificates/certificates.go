// Package certificates runs cert-manager: its chart values, the environment's
// CA as its issuer, and the certificates that it keeps renewing.
package certificates

import (
	"context"
	"encoding/base64"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/kube"
)

// Names in the cluster.
const (
	Namespace = "cert-manager"
	Release   = "cert-manager"
	// Issuer is the ClusterIssuer that signs with the environment's CA.
	Issuer = "devenv"

	caSecret = "devenv-authority"
)

// Deployments of the release, all of which must run before a Certificate is
// accepted and issued.
var Deployments = []string{"cert-manager", "cert-manager-webhook", "cert-manager-cainjector"}

// programs of cert-manager, by the key of their values.
var programs = map[string]string{"": "controller", "webhook": "webhook", "cainjector": "cainjector"}

// Values are the values of cert-manager's chart. Its start-up check is left
// out: EnsureIssuer asks the webhook itself.
//
// Images are named only where they are not the chart's own: charts from v1.20
// on put an image together from other values than those before, and reject
// values that they do not know.
func Values(pin profiles.ChartPin) map[string]any {
	values := map[string]any{
		"crds":            map[string]any{"enabled": true},
		"startupapicheck": map[string]any{"enabled": false},
		"global": map[string]any{"leaderElection": map[string]any{
			"namespace": Namespace, // the default, kube-system, is not for others' leases
			// as Kubernetes' own: with cert-manager's minute and quarter of a minute, a
			// controller that starts before kube-proxy, or after a restart of the node,
			// does nothing for so long
			"leaseDuration": "15s", "renewDeadline": "10s", "retryPeriod": "2s",
		}},
	}
	for key, program := range programs {
		image, ok := pin.Images[key]
		if !ok || image.Ref() == "quay.io/jetstack/cert-manager-"+program+":"+pin.Version {
			continue
		}
		named := map[string]any{"image": map[string]any{"repository": image.Repository, "tag": image.Tag}}
		if key == "" {
			values["image"] = named["image"]
		} else {
			values[key] = named
		}
	}
	return values
}

// Certificate is one that cert-manager issues and renews.
type Certificate struct {
	Namespace, Name string
	// Secret to keep it in.
	Secret   string
	DNSNames []string
}

func (c Certificate) object() kube.Object {
	return kube.Object{
		"apiVersion": "cert-manager.io/v1", "kind": "Certificate",
		"metadata": kube.Object{"name": c.Name, "namespace": c.Namespace, "labels": kube.ManagedLabels()},
		"spec": kube.Object{
			"secretName": c.Secret,
			"commonName": c.DNSNames[0],
			"dnsNames":   anyOf(c.DNSNames),
			"usages":     []any{"digital signature", "server auth"},
			"privateKey": kube.Object{"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
			"issuerRef":  kube.Object{"name": Issuer, "kind": "ClusterIssuer", "group": "cert-manager.io"},
		},
	}
}

// PreparedSecret is the Secret of a certificate that was signed before
// cert-manager runs. The annotations are those by which cert-manager knows its
// own work, so that it adopts the certificate instead of issuing another
// (cert-manager, internal/controller/certificates/policies).
func (c Certificate) PreparedSecret(certPEM, keyPEM, caPEM []byte) kube.Object {
	return kube.Object{
		"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
		"metadata": kube.Object{
			"name": c.Secret, "namespace": c.Namespace, "labels": kube.ManagedLabels(),
			"annotations": kube.Object{
				"cert-manager.io/certificate-name": c.Name,
				"cert-manager.io/issuer-name":      Issuer,
				"cert-manager.io/issuer-kind":      "ClusterIssuer",
				"cert-manager.io/issuer-group":     "cert-manager.io",
			},
		},
		"data": kube.Object{"tls.crt": encode(certPEM), "tls.key": encode(keyPEM), "ca.crt": encode(caPEM)},
	}
}

// EnsureIssuer makes cert-manager sign with a CA and keep certificates
// renewed. cert-manager's webhook rejects objects for some seconds after its
// pods are ready, until its own certificate has been injected: Ensure asks
// until it accepts them.
func EnsureIssuer(ctx context.Context, client *kube.Client, caPEM, keyPEM []byte, list ...Certificate) (changed bool, err error) {
	ca := kube.Object{
		"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
		"metadata": kube.Object{"name": caSecret, "namespace": Namespace, "labels": kube.ManagedLabels()},
		"data":     kube.Object{"tls.crt": encode(caPEM), "tls.key": encode(keyPEM)},
	}
	if changed, err = client.Apply(ctx, ca); err != nil {
		return changed, err
	}
	objects := []kube.Object{{
		"apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer",
		"metadata": kube.Object{"name": Issuer, "labels": kube.ManagedLabels()},
		"spec":     kube.Object{"ca": kube.Object{"secretName": caSecret}},
	}}
	for _, c := range list {
		objects = append(objects, c.object())
	}
	err = kube.Poll(ctx, "cert-manager's webhook to accept a ClusterIssuer", func(ctx context.Context) error {
		did, err := client.Apply(ctx, objects...)
		changed = changed || did
		return err
	})
	if err != nil {
		return changed, err
	}
	for _, c := range list {
		if err := waitReady(ctx, client, c); err != nil {
			return changed, err
		}
	}
	return changed, nil
}

func encode(text []byte) string { return base64.StdEncoding.EncodeToString(text) }

func anyOf(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

package provision

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/chart"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/trust"
)

// ensureDex installs Dex with a certificate signed here and now: cert-manager
// takes it over when it is up.
func (e *Environment) ensureDex(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	admin, err := e.admin(c.Name)
	if err != nil {
		return false, err
	}
	changed, err = admin.Apply(ctx, kube.Object{
		"apiVersion": "v1", "kind": "Namespace", "metadata": kube.Object{"name": identity.Namespace, "labels": kube.ManagedLabels()},
	})
	if err != nil {
		return false, err
	}
	did, err := admin.Apply(ctx, append(identity.CRDs(), identity.IssuerService(e.record.IssuerPort))...)
	if err != nil {
		return changed, err
	}
	serving, madeServing, err := e.ensureServingSecret(ctx, admin)
	if err != nil {
		return changed, err
	}
	madeGRPC, err := e.ensureGRPCSecret(ctx, admin)
	if err != nil {
		return changed, err
	}
	values, err := identity.Values(identity.Settings{
		Issuer: e.Issuer(), Dex: e.record.Profile.Spec.Dex,
		Image: e.pins.Charts["dex"].Images[""], Certificate: trust.Fingerprint(serving),
	})
	if err != nil {
		return changed, err
	}
	installed, err := e.ensureChart(ctx, admin, "dex", chart.Release{
		Name: identity.Release, Namespace: identity.Namespace, Adjust: identity.Adjust,
		Values: chart.Overlay(values, e.record.Profile.Spec.Dex.Values),
	})
	return changed || did || madeServing || madeGRPC || installed, err
}

// ensureChart installs the chart that is pinned under a name.
func (e *Environment) ensureChart(ctx context.Context, admin *kube.Client, name string, release chart.Release) (changed bool, err error) {
	cache, err := e.chartCache()
	if err != nil {
		return false, err
	}
	if release.Chart, err = e.chartSource(name).Load(cache); err != nil {
		return false, err
	}
	log := &lazyFile{path: e.LogFile("helm-" + release.Name)}
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

func (e *Environment) grpcAuthority() (*trust.Authority, error) {
	cert, certErr := e.dir.Read("grpc-ca.crt")
	key, keyErr := e.dir.Read("grpc-ca.key")
	if err := errors.Join(certErr, keyErr); err != nil {
		return nil, fmt.Errorf("could not read the authority of Dex's gRPC API: %w", err)
	}
	return trust.ParseAuthority(cert, key)
}

// ensureGRPCSecret gives Dex its gRPC certificate, for as long as the
// environment's authority itself: nothing renews it.
func (e *Environment) ensureGRPCSecret(ctx context.Context, admin *kube.Client) (changed bool, err error) {
	have, err := secretData(ctx, admin, identity.Namespace, identity.GRPCSecret, "tls.crt")
	if err != nil || len(have) > 0 {
		return false, err
	}
	authority, err := e.grpcAuthority()
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

// dexAdmin connects to Dex's gRPC API with a client certificate made for this
// one connection.
func (e *Environment) dexAdmin(ctx context.Context, admin *kube.Client) (*identity.Admin, error) {
	authority, err := e.grpcAuthority()
	if err != nil {
		return nil, err
	}
	pair, err := authority.ClientPair(time.Hour, "devenv")
	if err != nil {
		return nil, err
	}
	certificate, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		return nil, err
	}
	return identity.Connect(ctx, admin, identity.Credentials{Server: authority.Pool(), Client: certificate})
}

// ensureIssuer waits until the issuer's discovery document can be had from the
// host, by its own URL and verified.
func (e *Environment) ensureIssuer(ctx context.Context) (changed bool, err error) {
	admin, err := e.admin(e.record.Profile.Spec.Clusters[0].Name)
	if err != nil {
		return false, err
	}
	if err := admin.WaitAvailable(ctx, identity.Namespace, identity.Release); err != nil {
		return false, err
	}
	client, err := e.issuerClient()
	if err != nil {
		return false, err
	}
	return false, kube.Poll(ctx, "the issuer "+e.Issuer(), func(ctx context.Context) error { return discover(ctx, client, e.Issuer()) })
}

// discover reads the discovery document and makes sure it is this issuer's
// (OpenID Connect Discovery 1.0, section 4.3).
func discover(ctx context.Context, client *http.Client, issuer string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, issuer+"/.well-known/openid-configuration", nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	var document struct {
		Issuer string `json:"issuer"`
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	if err := json.Unmarshal(body, &document); err != nil {
		return err
	}
	if document.Issuer != issuer {
		return fmt.Errorf("it says it is %s", document.Issuer)
	}
	return nil
}

func (e *Environment) ensureSeed(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	admin, err := e.admin(c.Name)
	if err != nil {
		return false, err
	}
	dex, err := e.dexAdmin(ctx, admin)
	if err != nil {
		return false, err
	}
	defer dex.Close()
	clients, err := dex.EnsureClients(ctx, e.record.Profile.Spec.Dex.Clients)
	if err != nil {
		return clients, err
	}
	users, err := dex.EnsureUsers(ctx, e.record.Profile.Spec.Dex.Users)
	if clients || users {
		err = errors.Join(err, e.forgetTokens()) // they may say what is no longer so
	}
	return clients || users, err
}

// ensureToken waits for what matters: a token of the first user is accepted
// (the first whose e-mail is verified, or it never would be).
// The API server looks for the issuer every 10 s until it finds it (k8s.io/
// apiserver, plugin/pkg/authenticator/token/oidc), and says nowhere that it
// has: only a token tells.
func (e *Environment) ensureToken(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	login, err := e.login(ctx, c, e.acceptedUsers(c)[0])
	if err != nil {
		return false, err
	}
	target, err := e.checkCluster(c)
	if err != nil {
		return false, err
	}
	return false, kube.Poll(ctx, "the API server to accept a token of "+login.Email, func(ctx context.Context) error {
		_, err := target.WhoAmI(ctx, login.Token)
		return err
	})
}

// annotatePods sets an annotation of a Deployment's pods, which replaces them
// if it is another.
func annotatePods(ctx context.Context, client *kube.Client, namespace, deployment, annotation, value string) (changed bool, err error) {
	deployments := client.Core.AppsV1().Deployments(namespace)
	have, err := deployments.Get(ctx, deployment, metav1.GetOptions{})
	if err == nil && have.Spec.Template.Annotations[annotation] == value {
		return false, nil
	}
	patch, marshalErr := json.Marshal(kube.Object{"spec": kube.Object{"template": kube.Object{"metadata": kube.Object{"annotations": kube.Object{annotation: value}}}}})
	if err := errors.Join(err, marshalErr); err != nil {
		return false, fmt.Errorf("could not read the Deployment %s/%s: %w", namespace, deployment, err)
	}
	if _, err := deployments.Patch(ctx, deployment, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: kube.FieldManager}); err != nil {
		return false, fmt.Errorf("could not change the Deployment %s/%s: %w", namespace, deployment, err)
	}
	return true, nil
}

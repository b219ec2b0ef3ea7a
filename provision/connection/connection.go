// Package connection stores a kubeconfig for one cluster in a Secret of another,
// with a token of a service account there, as Greenhouse does
// (https://github.com/cloudoperators/greenhouse, remote cluster connectivity).
package connection

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/jwt"
	"github.com/devenv-oidc/devenv/provision/kube"
)

// Connection is one as it is made: without placeholders, and with what is known
// of the cluster that is reached.
type Connection struct {
	profiles.Connection
	// Server is the API server's URL as the other cluster reaches it, and CA who
	// vouches for it, PEM.
	Server string
	CA     []byte
}

// Ensure makes the service account and the Secret that owns it, in the cluster
// of client. The stored token stays while it is valid, unless rotate says
// otherwise.
func Ensure(ctx context.Context, client *kube.Client, c Connection, rotate bool) (changed bool, err error) {
	have, err := c.secret(ctx, client)
	if err != nil {
		return false, err
	}
	if have != nil && have.Labels["app.kubernetes.io/managed-by"] != kube.FieldManager {
		return false, fmt.Errorf("the Secret %s/%s is not devenv's own", c.Namespace, c.Name)
	}
	if have != nil && have.Type != c.secretType() { // which cannot be changed
		if err := client.Core.CoreV1().Secrets(c.Namespace).Delete(ctx, c.Name, metav1.DeleteOptions{}); err != nil {
			return false, fmt.Errorf("could not replace the Secret %s/%s: %w", c.Namespace, c.Name, err)
		}
		have, changed = nil, true
	}
	var kubeconfig []byte
	if have == nil { // the service account needs its uid
		if _, err := client.Apply(ctx, c.object(nil)); err != nil {
			return changed, err
		}
		if have, err = c.secret(ctx, client); err != nil {
			return true, err
		}
	} else {
		kubeconfig = have.Data[c.KubeconfigKey]
	}
	owned, err := client.Apply(ctx, kube.Object{
		"apiVersion": "v1", "kind": "ServiceAccount",
		"metadata": kube.Object{
			"name": c.Name, "namespace": c.Namespace, "labels": kube.ManagedLabels(),
			"ownerReferences": []any{kube.Object{"apiVersion": "v1", "kind": "Secret", "name": c.Name, "uid": string(have.UID)}},
		},
	})
	if err != nil {
		return changed || owned, err
	}
	if rotate || !c.good(kubeconfig) {
		token, err := Token(ctx, client, c.Namespace, c.Name, c.Audience, c.Lifetime())
		if err != nil {
			return changed || owned, err
		}
		if kubeconfig, err = c.kubeconfig(token); err != nil {
			return changed || owned, err
		}
	}
	applied, err := client.Apply(ctx, c.object(kubeconfig))
	return changed || owned || applied, err
}

// part marks the Secrets of connections.
const part = "connection"

// Prune deletes the Secrets and service accounts of connections that are not
// among those that are wanted from this cluster.
func Prune(ctx context.Context, client *kube.Client, wanted []profiles.Connection) (changed bool, err error) {
	list, err := client.Core.CoreV1().Secrets("").List(ctx, metav1.ListOptions{LabelSelector: kube.ManagedSelector + "," + kube.PartLabel + "=" + part})
	if err != nil {
		return false, fmt.Errorf("could not list the Secrets of connections: %w", err)
	}
	for _, s := range list.Items {
		if slices.ContainsFunc(wanted, func(c profiles.Connection) bool { return c.Namespace == s.Namespace && c.Name == s.Name }) {
			continue
		}
		accountErr := client.Core.CoreV1().ServiceAccounts(s.Namespace).Delete(ctx, s.Name, metav1.DeleteOptions{})
		secretErr := client.Core.CoreV1().Secrets(s.Namespace).Delete(ctx, s.Name, metav1.DeleteOptions{})
		for _, err := range []error{accountErr, secretErr} {
			if err != nil && !apierrors.IsNotFound(err) {
				return changed, fmt.Errorf("could not delete the connection %s/%s, which the profile does not have: %w", s.Namespace, s.Name, err)
			}
		}
		changed = true
	}
	return changed, nil
}

// Kubeconfig reads the kubeconfig out of the Secret.
func Kubeconfig(ctx context.Context, client *kube.Client, c profiles.Connection) ([]byte, error) {
	secret, err := client.Core.CoreV1().Secrets(c.Namespace).Get(ctx, c.Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("could not read the Secret %s/%s: %w", c.Namespace, c.Name, err)
	}
	if len(secret.Data[c.KubeconfigKey]) == 0 {
		return nil, fmt.Errorf("the Secret %s/%s has no %s", c.Namespace, c.Name, c.KubeconfigKey)
	}
	return secret.Data[c.KubeconfigKey], nil
}

// Bearer is the token in such a kubeconfig.
func Bearer(kubeconfig []byte) (string, error) {
	config, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return "", fmt.Errorf("could not read the connection's kubeconfig: %w", err)
	}
	for _, user := range config.AuthInfos {
		return user.Token, nil
	}
	return "", fmt.Errorf("the connection's kubeconfig has no user")
}

// Token requests a token of a service account for an audience.
func Token(ctx context.Context, client *kube.Client, namespace, serviceAccount, audience string, lifetime time.Duration) (string, error) {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: []string{audience}, ExpirationSeconds: new(int64(lifetime.Seconds())),
	}}
	got, err := client.Core.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, serviceAccount, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("could not get a token of the service account %s/%s: %w", namespace, serviceAccount, err)
	}
	return got.Status.Token, nil
}

// secret reads the Secret; nil where there is none.
func (c Connection) secret(ctx context.Context, client *kube.Client) (*corev1.Secret, error) {
	secret, err := client.Core.CoreV1().Secrets(c.Namespace).Get(ctx, c.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("could not read the Secret %s/%s: %w", c.Namespace, c.Name, err)
	}
	return secret, nil
}

func (c Connection) secretType() corev1.SecretType {
	if c.Type == "" {
		return corev1.SecretTypeOpaque
	}
	return corev1.SecretType(c.Type)
}

// object is the Secret; without a kubeconfig where there is none yet.
func (c Connection) object(kubeconfig []byte) kube.Object {
	encode := base64.StdEncoding.EncodeToString
	data := kube.Object{}
	for key, value := range c.Data {
		data[key] = encode([]byte(value))
	}
	if kubeconfig != nil {
		data[c.KubeconfigKey] = encode(kubeconfig)
	}
	labels, annotations := kube.Object{"app.kubernetes.io/managed-by": kube.FieldManager, kube.PartLabel: part}, kube.Object{}
	for key, value := range c.Labels {
		labels[key] = value
	}
	for key, value := range c.Annotations {
		annotations[key] = value
	}
	return kube.Object{
		"apiVersion": "v1", "kind": "Secret", "type": string(c.secretType()), "data": data,
		"metadata": kube.Object{"name": c.Name, "namespace": c.Namespace, "labels": labels, "annotations": annotations},
	}
}

// kubeconfig has the names that Greenhouse gives (RestConfigToAPIConfig in
// internal/controller/cluster/bootstrap_controller.go): the Secret's for cluster
// and context, and the service account's as a user.
func (c Connection) kubeconfig(token string) ([]byte, error) {
	user := "system:serviceaccount:" + c.Namespace + ":" + c.Name
	return clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{c.Name: {Server: c.Server, CertificateAuthorityData: c.CA}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{user: {Token: token}},
		Contexts:       map[string]*clientcmdapi.Context{c.Name: {Cluster: c.Name, AuthInfo: user, Namespace: c.Namespace}},
		CurrentContext: c.Name,
	})
}

// good says whether a kubeconfig is what would be made now, but for a token
// that has at least a third of its life before it.
func (c Connection) good(kubeconfig []byte) bool {
	token, err := Bearer(kubeconfig)
	if err != nil {
		return false
	}
	claims, err := jwt.Claims(token)
	if err != nil || claims["sub"] != c.Subject() {
		return false
	}
	if audiences, _ := claims["aud"].([]any); len(audiences) != 1 || audiences[0] != c.Audience {
		return false
	}
	expires, err := jwt.Expiry(token)
	if err != nil || time.Until(expires) < c.Lifetime()/3 {
		return false
	}
	same, err := c.kubeconfig(token)
	return err == nil && string(same) == string(kubeconfig)
}

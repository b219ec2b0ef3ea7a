package process

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/devenv-oidc/devenv/provision/trust"
)

// The files of a cluster's certificates, as far as they can named as kubeadm
// names them: https://kubernetes.io/docs/setup/best-practices/certificates/
const (
	authority             = "ca"
	servingPair           = "apiserver"
	adminPair             = "admin"
	controllerManagerPair = "controller-manager"
	serviceAccountKey     = "sa.key"
	etcdAuthority         = "etcd/ca"
	etcdServerPair        = "etcd/server"
	etcdClientPair        = "apiserver-etcd-client"
)

func (c *Cluster) pki(name string) string { return c.below("pki", name) }

// ensurePKI creates the cluster's CAs and what they sign. They are the
// cluster's own: nothing that the environment's CA signs opens it. The
// last file written says that all are complete.
func (c *Cluster) ensurePKI() (changed bool, err error) {
	if _, err := os.Stat(c.pki(serviceAccountKey)); err == nil {
		return false, nil
	}
	if err := os.RemoveAll(c.below("pki")); err != nil {
		return false, err
	}
	kubernetes, err := trust.NewCA("kubernetes "+c.spec.Name, trust.Anything)
	if err != nil {
		return false, err
	}
	etcd, err := trust.NewCA("etcd "+c.spec.Name, trust.Anything)
	if err != nil {
		return false, err
	}
	names := []string{"127.0.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
	serving, servingErr := kubernetes.ServerPair(trust.Lifetime, names...)
	admin, adminErr := kubernetes.ClientPair(trust.Lifetime, "kubernetes-admin", "system:masters")
	controllers, controllersErr := kubernetes.ClientPair(trust.Lifetime, "system:kube-controller-manager")
	member, memberErr := etcd.MemberPair(trust.Lifetime, "127.0.0.1", "localhost")
	client, clientErr := etcd.ClientPair(trust.Lifetime, "kube-apiserver")
	if err := errors.Join(servingErr, adminErr, controllersErr, memberErr, clientErr); err != nil {
		return false, err
	}
	for name, pair := range map[string]trust.Pair{
		authority: {CertPEM: kubernetes.CertPEM, KeyPEM: kubernetes.KeyPEM}, servingPair: serving, adminPair: admin, controllerManagerPair: controllers,
		etcdAuthority: {CertPEM: etcd.CertPEM, KeyPEM: etcd.KeyPEM}, etcdServerPair: member, etcdClientPair: client,
	} {
		if err := errors.Join(writeFile(c.pki(name+".crt"), pair.CertPEM), writeFile(c.pki(name+".key"), pair.KeyPEM)); err != nil {
			return false, err
		}
	}
	kubeconfig, err := c.kubeconfig(controllerManagerPair)
	if err != nil {
		return false, err
	}
	if err := writeFile(c.pki(controllerManagerPair+".kubeconfig"), kubeconfig); err != nil {
		return false, err
	}
	// RSA, as in kubeadm: tokens signed with RS256 are what others expect
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return false, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	return true, writeFile(c.pki(serviceAccountKey), text)
}

func writeFile(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return replaceFile(path, content)
}

// ClientKubeconfig makes a kubeconfig for a user of the cluster, by a
// certificate that is signed now, with a namespace as its default.
func (c *Cluster) ClientKubeconfig(user, namespace string) ([]byte, error) {
	cert, certErr := os.ReadFile(c.pki(authority + ".crt"))
	key, keyErr := os.ReadFile(c.pki(authority + ".key"))
	if err := errors.Join(certErr, keyErr); err != nil {
		return nil, fmt.Errorf("could not read the CA of cluster %q: %w", c.spec.Name, err)
	}
	kubernetes, err := trust.ParseCA(cert, key)
	if err != nil {
		return nil, err
	}
	pair, err := kubernetes.ClientPair(trust.Lifetime, user)
	if err != nil {
		return nil, err
	}
	return c.kubeconfigOf(pair, cert, user, namespace)
}

// kubeconfig is that of one of the cluster's own pairs.
func (c *Cluster) kubeconfig(pair string) ([]byte, error) {
	ca, caErr := os.ReadFile(c.pki(authority + ".crt"))
	cert, certErr := os.ReadFile(c.pki(pair + ".crt"))
	key, keyErr := os.ReadFile(c.pki(pair + ".key"))
	if err := errors.Join(caErr, certErr, keyErr); err != nil {
		return nil, fmt.Errorf("could not read the certificates of cluster %q: %w", c.spec.Name, err)
	}
	return c.kubeconfigOf(trust.Pair{CertPEM: cert, KeyPEM: key}, ca, pair, "")
}

func (c *Cluster) kubeconfigOf(pair trust.Pair, ca []byte, user, namespace string) ([]byte, error) {
	name := "devenv-" + filepath.Base(c.spec.Folder) + "-" + c.spec.Name
	return clientcmd.Write(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{name: {
			Server: fmt.Sprintf("https://127.0.0.1:%d", c.spec.APIPort), CertificateAuthorityData: ca,
		}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{user: {ClientCertificateData: pair.CertPEM, ClientKeyData: pair.KeyPEM}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: user, Namespace: namespace}},
		CurrentContext: name,
	})
}

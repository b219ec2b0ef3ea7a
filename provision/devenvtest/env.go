package devenvtest

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/transport"

	"github.com/devenv-oidc/devenv/provision"
	"github.com/devenv-oidc/devenv/provision/kube"
)

// Env is a running environment, seen from one of its clusters.
type Env struct {
	// Name of the environment: `devenv status --name` says more of it.
	Name string
	// Issuer is the URL of the OpenID Connect provider, and CAFile who vouches for
	// it, a PEM file; empty where every machine trusts it anyway.
	Issuer, CAFile string

	e       *provision.Environment
	cluster string
}

// Cluster is the same environment seen from another of its clusters: methods are
// about the profile's first one otherwise.
func (e *Env) Cluster(t testing.TB, name string) *Env {
	t.Helper()
	view := *e
	view.cluster = name
	if _, err := os.Stat(e.e.KubeconfigFile(name)); err != nil {
		t.Fatalf("environment %s has no cluster %q: %v", e.Name, name, err)
	}
	return &view
}

// Users are the e-mails of the environment's users.
func (e *Env) Users() []string {
	var list []string
	for _, u := range e.e.Users() {
		list = append(list, u.Email)
	}
	return list
}

// CertPool holds the CA that vouches for the issuer; nil where every machine
// trusts it anyway.
func (e *Env) CertPool(t testing.TB) *x509.CertPool {
	t.Helper()
	if e.CAFile == "" {
		return nil
	}
	text, err := os.ReadFile(e.CAFile)
	pool := x509.NewCertPool()
	if err == nil && !pool.AppendCertsFromPEM(text) {
		err = fmt.Errorf("%s holds no certificate", e.CAFile)
	}
	if err != nil {
		fatal(t, "could not read the environment's CA", err)
	}
	return pool
}

// HTTPClient trusts the environment's CA alone and finds the issuer on every
// machine, whatever its resolver knows: for go-oidc's ClientContext, for example.
func (e *Env) HTTPClient(t testing.TB) *http.Client {
	t.Helper()
	client, err := e.e.HTTPClient()
	if err != nil {
		fatal(t, "could not make a client for the issuer", err)
	}
	return client
}

// Token is an ID token of a user, for the client that the cluster trusts. It is
// good for a while at least, and may be the one that was returned before.
func (e *Env) Token(t testing.TB, user string) string {
	t.Helper()
	token, err := e.TokenSource(t.Context(), user).Token()
	if err != nil {
		fatal(t, "could not get a token for "+user, err)
	}
	return token.AccessToken
}

// TokenFor gets any token that devenv can get: of another client, with another
// audience, by another grant, or with a wrong password.
func (e *Env) TokenFor(ctx context.Context, r provision.TokenRequest) (string, error) {
	return e.e.Token(ctx, r)
}

// TokenSource gives ID tokens of a user, each until shortly before it expires, as
// bearer tokens. It stops with the context.
func (e *Env) TokenSource(ctx context.Context, user string) oauth2.TokenSource {
	return tokenSource{ctx, e, user}
}

type tokenSource struct {
	ctx  context.Context
	e    *Env
	user string
}

// Token asks the environment's own cache, which logs in when it must.
func (s tokenSource) Token() (*oauth2.Token, error) {
	credential, err := s.e.e.ExecCredential(s.ctx, "client.authentication.k8s.io/v1", provision.TokenRequest{User: s.user, Client: s.e.e.TrustedClient(s.e.cluster)})
	if err != nil {
		return nil, err
	}
	return &oauth2.Token{AccessToken: credential.Status.Token, TokenType: "Bearer", Expiry: credential.Status.ExpirationTimestamp.Time}, nil
}

// Config is a user's access to the cluster, by tokens that are renewed before
// they expire. It needs no program and no file, and is good until the test ends.
func (e *Env) Config(t testing.TB, user string) *rest.Config {
	t.Helper()
	e.Token(t, user) // or the first request would be who says what is wrong
	config := rest.AnonymousClientConfig(e.AdminConfig(t))
	config.Wrap(transport.TokenSourceWrapTransport(e.TokenSource(t.Context(), user)))
	return config
}

// AdminConfig is the access of the cluster's own administrator.
func (e *Env) AdminConfig(t testing.TB) *rest.Config {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", e.AdminKubeconfig())
	if err != nil {
		fatal(t, "could not read the administrator's kubeconfig", err)
	}
	return config
}

// AdminKubeconfig is the file of the cluster's own administrator.
func (e *Env) AdminKubeconfig() string { return e.e.KubeconfigFile(e.cluster) }

// Kubeconfig writes a kubeconfig with a user's token, for programs: a file that
// goes with the test. The token is not renewed.
func (e *Env) Kubeconfig(t testing.TB, user string) string {
	t.Helper()
	return e.kubeconfig(t, provision.KubeconfigRequest{Cluster: e.cluster, User: user, Flavor: provision.FlavorToken})
}

// PluginKubeconfig is Kubeconfig with devenv as the credential plug-in, which
// renews tokens: devenv is the path of that program.
func (e *Env) PluginKubeconfig(t testing.TB, user, devenv string) string {
	t.Helper()
	return e.kubeconfig(t, provision.KubeconfigRequest{Cluster: e.cluster, User: user, Flavor: provision.FlavorExec, Executable: devenv})
}

func (e *Env) kubeconfig(t testing.TB, r provision.KubeconfigRequest) string {
	t.Helper()
	config, err := e.e.Kubeconfig(t.Context(), r)
	if err != nil {
		fatal(t, "could not make a kubeconfig for "+r.User, err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		fatal(t, "could not write a kubeconfig", err)
	}
	return file
}

// Username is how the cluster calls a user: by their token's claims, with the
// prefix that it is configured with.
func (e *Env) Username(t testing.TB, user string) string {
	t.Helper()
	client, err := kubernetes.NewForConfig(e.Config(t, user))
	if err != nil {
		fatal(t, "could not make a client for "+user, err)
	}
	review, err := client.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		fatal(t, "could not ask who "+user+" is", err)
	}
	return review.Status.UserInfo.Username
}

// Access is a ClusterRole for a user in a namespace.
type Access struct {
	// User by e-mail.
	User string
	// ClusterRole such as view, edit or admin.
	ClusterRole string
}

// Namespace makes a namespace for this test alone, and deletes it after the test.
func (e *Env) Namespace(t testing.TB, access ...Access) string {
	t.Helper()
	client, err := kubernetes.NewForConfig(e.AdminConfig(t))
	if err != nil {
		fatal(t, "could not make the administrator's client", err)
	}
	name := "test-" + strings.ToLower(rand.Text()[:10])
	made := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{"app.kubernetes.io/managed-by": "devenvtest"}, Annotations: map[string]string{"devenv.dev/test": t.Name()},
	}}
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), made, metav1.CreateOptions{}); err != nil {
		fatal(t, "could not make a namespace", err)
	}
	t.Cleanup(func() { // the test's own context is over
		if err := client.CoreV1().Namespaces().Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
			t.Logf("devenv: could not delete the namespace %s: %v", name, err)
		}
	})
	for i, a := range access {
		binding := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("access-%d", i)},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: a.ClusterRole},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: e.Username(t, a.User)}},
		}
		if _, err := client.RbacV1().RoleBindings(name).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
			fatal(t, "could not bind "+a.User+" to "+a.ClusterRole, err)
		}
		if err := waitForAccess(t.Context(), client, name, a.ClusterRole, binding.Subjects[0].Name); err != nil {
			fatal(t, "could not bind "+a.User+" to "+a.ClusterRole, err)
		}
	}
	return name
}

// waitForAccess waits until the API server's authorizer has seen a binding: it
// watches them, and so is a moment behind. It asks for the role's first rule.
func waitForAccess(ctx context.Context, client kubernetes.Interface, namespace, clusterRole, username string) error {
	role, err := client.RbacV1().ClusterRoles().Get(ctx, clusterRole, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, rule := range role.Rules {
		if len(rule.Resources) == 0 || len(rule.Verbs) == 0 || len(rule.APIGroups) == 0 {
			continue
		}
		resource, subresource, _ := strings.Cut(rule.Resources[0], "/")
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: username, ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: namespace, Verb: rule.Verbs[0], Group: rule.APIGroups[0], Resource: resource, Subresource: subresource,
		}}}
		if len(rule.ResourceNames) > 0 {
			review.Spec.ResourceAttributes.Name = rule.ResourceNames[0]
		}
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		return kube.PollEvery(limited, 20*time.Millisecond, "the API server to see the binding", func(ctx context.Context) error {
			answer, err := client.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
			if err == nil && !answer.Status.Allowed {
				err = fmt.Errorf("%s is not allowed to %s %s yet", username, rule.Verbs[0], rule.Resources[0])
			}
			return err
		})
	}
	return nil
}

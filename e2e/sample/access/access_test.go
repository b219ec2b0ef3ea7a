// Package access tests who may do what, on two clusters, with a profile of the
// project's own.
package access

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/devenv-oidc/devenv/provision"
	"github.com/devenv-oidc/devenv/provision/devenvtest"
)

const profile = `
apiVersion: devenv.dev/v1alpha1
kind: Environment
metadata: {name: notes, description: two clusters with a reader}
spec:
  runtime: process
  clusters:
  - name: main
    trust: {flags: {clientID: kubernetes, usernameClaim: email}}
  - name: second
    trust: {flags: {clientID: second, usernameClaim: email}}
    access:
      bindings: [{name: readers, clusterRole: view, users: [reader@example.com]}]
  dex:
    clients: [{id: kubernetes, public: true}, {id: second}]
    users: [{email: reader@example.com}]
`

func TestAccess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "notes.yaml")
	if err := os.WriteFile(file, []byte(profile), 0o600); err != nil {
		t.Fatal(err)
	}
	env := devenvtest.Up(t, devenvtest.ProfileFile(file), devenvtest.Set("spec.dex.users[1]={email: other@example.com}"), devenvtest.Timeout(2*time.Minute))
	if users := env.Users(); !slices.Equal(users, []string{"reader@example.com", "other@example.com"}) {
		t.Errorf("users %v", users)
	}
	second := env.Cluster(t, "second")
	lists := func(config *rest.Config) error {
		client, err := kubernetes.NewForConfig(config)
		if err == nil {
			_, err = client.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
		}
		return err
	}
	if err := lists(second.Config(t, "reader@example.com")); err != nil {
		t.Errorf("the reader in the second cluster: %v", err)
	}
	if err := lists(env.Config(t, "reader@example.com")); !apierrors.IsForbidden(err) {
		t.Errorf("the reader in the first: %v", err)
	}
	if err := lists(second.Config(t, "other@example.com")); !apierrors.IsForbidden(err) {
		t.Errorf("somebody else: %v", err)
	}
	if name := second.Username(t, "other@example.com"); name != "other@example.com" {
		t.Errorf("the cluster calls them %s", name)
	}
	read := func(file string) *rest.Config {
		config, err := clientcmd.BuildConfigFromFlags("", file)
		if err != nil {
			t.Fatal(err)
		}
		return config
	}
	if err := lists(read(second.Kubeconfig(t, "reader@example.com"))); err != nil {
		t.Errorf("by the kubeconfig: %v", err)
	}
	if err := lists(read(second.AdminKubeconfig())); err != nil {
		t.Errorf("the administrator: %v", err)
	}
	if plugin := read(env.PluginKubeconfig(t, "reader@example.com", "/opt/devenv")).ExecProvider; plugin == nil || plugin.Command != "/opt/devenv" {
		t.Errorf("the plug-in is %v", plugin)
	}

	if _, err := env.TokenFor(t.Context(), provision.TokenRequest{User: "reader@example.com", Password: "wrong"}); err == nil || !strings.Contains(err.Error(), "Invalid username or password") {
		t.Errorf("with a wrong password: %v", err)
	}
	token, err := env.TokenSource(t.Context(), "reader@example.com").Token()
	if err != nil || token.AccessToken != env.Token(t, "reader@example.com") || time.Until(token.Expiry) < time.Minute {
		t.Errorf("%v, %v", token, err)
	}
	if pool := env.CertPool(t); pool == nil || env.HTTPClient(t) == nil {
		t.Error("nobody trusts the issuer")
	}
	if again := devenvtest.Up(t, devenvtest.ProfileFile(file), devenvtest.Set("spec.dex.users[1]={email: other@example.com}")); again.Name != env.Name {
		t.Errorf("the same was made twice: %s and %s", env.Name, again.Name)
	}
}

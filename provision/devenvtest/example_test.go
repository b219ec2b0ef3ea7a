package devenvtest_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/devenv-oidc/devenv/provision/devenvtest"
)

// A developer may create pods in a namespace of the test, and a guest may not
// even list them. As a test of a project's own it is complete.
func Example() {
	TestAccess := func(t *testing.T) {
		env := devenvtest.Up(t, devenvtest.Profile("default"), devenvtest.Runtime("process"))
		namespace := env.Namespace(t, devenvtest.Access{User: "dev@example.com", ClusterRole: "edit"})

		dev, err := kubernetes.NewForConfig(env.Config(t, "dev@example.com"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := dev.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{}); err != nil {
			t.Error(err)
		}
		guest, err := kubernetes.NewForConfig(env.Config(t, "guest@example.com"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := guest.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{}); !errors.IsForbidden(err) {
			t.Errorf("a guest got %v", err)
		}
	}
	_ = TestAccess
}

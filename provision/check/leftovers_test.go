package check

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/devenv-oidc/devenv/provision/kube"
)

func TestRemoveLeftovers(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	meta := func(name string, age time.Duration, manager string) metav1.ObjectMeta {
		return metav1.ObjectMeta{
			Namespace: "default", Name: name, CreationTimestamp: metav1.NewTime(now.Add(-age)),
			Labels: map[string]string{"app.kubernetes.io/managed-by": manager},
		}
	}
	core := fake.NewClientset(
		&corev1.Pod{ObjectMeta: meta("devenv-check-old", time.Hour, kube.FieldManager)},
		&corev1.Pod{ObjectMeta: meta("devenv-check-running", time.Minute, kube.FieldManager)},
		&corev1.Pod{ObjectMeta: meta("devenv-check-theirs", time.Hour, "somebody")},
		&corev1.Pod{ObjectMeta: meta("other", time.Hour, kube.FieldManager)},
		&corev1.Secret{ObjectMeta: meta("devenv-check-old", time.Hour, kube.FieldManager)},
		&corev1.Secret{ObjectMeta: meta("devenv-check-running", time.Minute, kube.FieldManager)},
	)
	if err := RemoveLeftovers(t.Context(), &kube.Client{Core: core}, now); err != nil {
		t.Fatal(err)
	}
	var names []string
	pods, podsErr := core.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	secrets, secretsErr := core.CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{})
	if podsErr != nil || secretsErr != nil {
		t.Fatal(podsErr, secretsErr)
	}
	for _, p := range pods.Items {
		names = append(names, "pod "+p.Name)
	}
	for _, s := range secrets.Items {
		names = append(names, "secret "+s.Name)
	}
	slices.Sort(names)
	want := []string{"pod devenv-check-running", "pod devenv-check-theirs", "pod other", "secret devenv-check-running"}
	if !slices.Equal(names, want) {
		t.Errorf("left: %v, want %v", names, want)
	}
}

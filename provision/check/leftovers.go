package check

import (
	"context"
	"errors"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devenv-oidc/devenv/provision/kube"
)

// podPrefix starts the names of everything that a pod of a check needs.
const podPrefix = "devenv-check-"

// RemoveLeftovers deletes what checks that were killed left: pods, and Secrets
// with a kubeconfig, that are older at now than any check lets them become: two
// minutes, as the documentation says.
func RemoveLeftovers(ctx context.Context, admin *kube.Client, now time.Time) error {
	ours := metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=" + kube.FieldManager}
	left := func(o metav1.ObjectMeta) bool {
		return strings.HasPrefix(o.Name, podPrefix) && now.Sub(o.CreationTimestamp.Time) > 2*time.Minute
	}
	pods, podsErr := admin.Core.CoreV1().Pods("").List(ctx, ours)
	secrets, secretsErr := admin.Core.CoreV1().Secrets("").List(ctx, ours)
	if err := errors.Join(podsErr, secretsErr); err != nil {
		return err
	}
	var failed error
	for _, p := range pods.Items {
		if left(p.ObjectMeta) {
			failed = errors.Join(failed, admin.Core.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{}))
		}
	}
	for _, s := range secrets.Items {
		if left(s.ObjectMeta) {
			failed = errors.Join(failed, admin.Core.CoreV1().Secrets(s.Namespace).Delete(ctx, s.Name, metav1.DeleteOptions{}))
		}
	}
	return failed
}

package certificates

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/retry"

	"github.com/devenv-oidc/devenv/provision/kube"
)

var certificates = schema.GroupVersionResource{Group: "cert-manager.io", Version: "v1", Resource: "certificates"}

// Renew has cert-manager issue a certificate anew, as `cmctl renew` does
// (cert-manager, cmd/ctl/pkg/renew); it does not wait.
func Renew(ctx context.Context, client *kube.Client, c Certificate) error {
	resource := client.Dynamic.Resource(certificates).Namespace(c.Namespace)
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		object, err := resource.Get(ctx, c.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
		conditions = slices.DeleteFunc(conditions, func(item any) bool {
			condition, _ := item.(map[string]any)
			return condition["type"] == "Issuing"
		})
		conditions = append(conditions, map[string]any{
			"type": "Issuing", "status": "True", "reason": "ManuallyTriggered",
			"message": "devenv rotate certificates", "lastTransitionTime": time.Now().UTC().Format(time.RFC3339),
		})
		if err := unstructured.SetNestedSlice(object.Object, conditions, "status", "conditions"); err != nil {
			return err
		}
		_, err = resource.UpdateStatus(ctx, object, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("could not have the Certificate %s/%s renewed: %w", c.Namespace, c.Name, err)
	}
	return nil
}

func waitReady(ctx context.Context, client *kube.Client, c Certificate) error {
	what := fmt.Sprintf("Certificate %s/%s", c.Namespace, c.Name)
	return kube.Poll(ctx, what, func(ctx context.Context) error {
		object, err := client.Dynamic.Resource(certificates).Namespace(c.Namespace).Get(ctx, c.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
		for _, item := range conditions {
			condition, _ := item.(map[string]any)
			if condition["type"] == "Ready" {
				if condition["status"] == "True" {
					return nil
				}
				return fmt.Errorf("%v: %v", condition["reason"], condition["message"])
			}
		}
		return fmt.Errorf("cert-manager has not looked at it")
	})
}

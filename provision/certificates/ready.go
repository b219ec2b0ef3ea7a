package certificates

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/devenv-oidc/devenv/provision/kube"
)

var certificates = schema.GroupVersionResource{Group: "cert-manager.io", Version: "v1", Resource: "certificates"}

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

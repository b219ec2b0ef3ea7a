package chart

import "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

// ReadyAtOnce makes the readiness of a Deployment's pods known within a second
// (Release.Adjust). Charts have no value for it, and Kubernetes' default looks
// every ten seconds, cert-manager's webhook first after five.
func ReadyAtOnce(object map[string]any) {
	if object["kind"] != "Deployment" {
		return
	}
	containers, _, _ := unstructured.NestedSlice(object, "spec", "template", "spec", "containers")
	for _, c := range containers {
		if probe, ok := c.(map[string]any)["readinessProbe"].(map[string]any); ok {
			probe["periodSeconds"] = int64(1)
			delete(probe, "initialDelaySeconds")
		}
	}
	_ = unstructured.SetNestedSlice(object, containers, "spec", "template", "spec", "containers")
}

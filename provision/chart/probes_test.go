package chart

import "testing"

func TestReadyAtOnceChangesOnlyDeployments(t *testing.T) {
	probe := map[string]any{"httpGet": map[string]any{"path": "/healthz/ready"}}
	pod := func() map[string]any {
		return map[string]any{"template": map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"name": "dex", "readinessProbe": probe}}}}}
	}
	deployment := map[string]any{"kind": "Deployment", "spec": pod()}
	ReadyAtOnce(deployment)
	container := deployment["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
	if container["readinessProbe"].(map[string]any)["periodSeconds"] != int64(1) {
		t.Errorf("%v", container)
	}
	ReadyAtOnce(map[string]any{"kind": "Service"})
	ReadyAtOnce(map[string]any{"kind": "Deployment"})
}

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// `up` waits for whatever a profile starts, by its kind, and says why it does not
// come; what the next profile does not have goes.
func TestWorkloadsOfEveryKind(t *testing.T) {
	needShared(t)
	pause, dex := "", ""
	for ref := range strings.FieldsSeq(docker(t, "exec", node(shared), "ctr", "--namespace=k8s.io", "images", "ls", "-q")) {
		switch {
		case strings.HasPrefix(ref, "registry.k8s.io/pause:"):
			pause = ref
		case strings.Contains(ref, "dexidp/dex:"):
			dex = ref
		}
	}
	pod := func(image, command, restart string) string {
		return fmt.Sprintf(`{metadata: {labels: {app: e2e}}, spec: {restartPolicy: %s, terminationGracePeriodSeconds: 0, containers: [{name: c, image: "%s", imagePullPolicy: Never%s}]}}`, restart, image, command)
	}
	job := func(command string) string {
		return fmt.Sprintf(`{apiVersion: batch/v1, kind: Job, metadata: {name: e2e-job, namespace: demo}, spec: {backoffLimit: 0, template: %s}}`, pod(dex, ", command: "+command, "Never"))
	}
	up := func(objects ...string) result {
		return devenv(t, "up", "--name", shared, "--set", "spec.clusters[0].objects=["+strings.Join(objects, ", ")+"]")
	}
	selector := `selector: {matchLabels: {app: e2e}}`
	good := []string{
		fmt.Sprintf(`{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: e2e-set, namespace: demo}, spec: {serviceName: e2e, replicas: 2, %s, template: %s}}`, selector, pod(pause, "", "Always")),
		fmt.Sprintf(`{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: e2e-daemon, namespace: demo}, spec: {%s, template: %s}}`, strings.ReplaceAll(selector, "e2e", "daemon"), strings.ReplaceAll(pod(pause, "", "Always"), "app: e2e", "app: daemon")),
		`{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: e2e, namespace: demo}, spec: {secretName: e2e, dnsNames: ["x.${issuer.host}"], issuerRef: {kind: ClusterIssuer, name: devenv}}}`,
		job("[dex, version]"),
	}
	up(good...).wants(t, 0, "ready and proven")
	devenv(t, "check", "--name", shared).wants(t, 0, "✓ StatefulSet demo/e2e-set is ready", "✓ DaemonSet demo/e2e-daemon is ready", "✓ Certificate demo/e2e is ready", "✓ Job demo/e2e-job is ready")
	admin := statusOf(t, shared).Clusters[0].Kubeconfig
	mustKubectl(t, admin, "--namespace=demo", "delete", "statefulset", "e2e-set", "--wait=true")
	devenv(t, "check", "--name", shared).wants(t, 5, "✗ StatefulSet demo/e2e-set is ready")

	must(t, "up", "--name", shared)
	up(job("[dex, nonsense]")).wants(t, 4, "gave up while waiting for Job demo/e2e-job: it failed: ")
	must(t, "up", "--name", shared)
	if out := mustKubectl(t, admin, "--namespace=demo", "get", "jobs,daemonsets,statefulsets,certificates", "--output=name"); out != "" {
		t.Errorf("left: %s", out)
	}
}

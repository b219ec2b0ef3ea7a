package kube

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func TestReadiness(t *testing.T) {
	for name, test := range map[string]struct {
		object, want string
		final        bool
	}{
		"StatefulSet on its way": {"{apiVersion: apps/v1, kind: StatefulSet, metadata: {generation: 1}, spec: {replicas: 2}, status: {observedGeneration: 1, replicas: 1}}", "Replicas: 1/2", false},
		"StatefulSet":            {"{apiVersion: apps/v1, kind: StatefulSet, metadata: {generation: 1}, spec: {replicas: 1}, status: {observedGeneration: 1, replicas: 1, readyReplicas: 1, currentReplicas: 1, updatedReplicas: 1, currentRevision: a, updateRevision: a}}", "", false},
		"DaemonSet on its way":   {"{apiVersion: apps/v1, kind: DaemonSet, metadata: {generation: 1}, status: {observedGeneration: 1, desiredNumberScheduled: 1, currentNumberScheduled: 1, updatedNumberScheduled: 1, numberAvailable: 0}}", "Available: 0/1", false},
		"Job that runs":          {"{apiVersion: batch/v1, kind: Job, status: {active: 1}}", "it has not completed, 0 of its pods have succeeded", false},
		"Job that is done":       {`{apiVersion: batch/v1, kind: Job, status: {conditions: [{type: SuccessCriteriaMet, status: "True"}, {type: Complete, status: "True"}]}}`, "", false},
		"Job that failed":        {`{apiVersion: batch/v1, kind: Job, status: {conditions: [{type: Failed, status: "True", message: too often}]}}`, "it failed: too often", true},
		"condition not yet":      {`{apiVersion: a.example.com/v1, kind: A, metadata: {generation: 1}, status: {conditions: [{type: Ready, status: "False", message: on its way}]}}`, "on its way", false},
		"condition":              {`{apiVersion: a.example.com/v1, kind: A, status: {conditions: [{type: Ready, status: "True"}]}}`, "", false},
		"stalled":                {`{apiVersion: a.example.com/v1, kind: A, status: {conditions: [{type: Stalled, status: "True", message: never}]}}`, "never", true},
		"without a status":       {`{apiVersion: a.example.com/v1, kind: A}`, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := yaml.YAMLToJSON([]byte(test.object))
			if err != nil {
				t.Fatal(err)
			}
			var o unstructured.Unstructured
			if err := o.UnmarshalJSON(text); err != nil { // with whole numbers, as from an API server
				t.Fatal(err)
			}
			final, err := readiness(&o)
			if final != test.final || (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, final %v", err, final)
			}
		})
	}
}

func TestAwaited(t *testing.T) {
	var names []string
	for _, o := range Awaited([]Object{
		{"apiVersion": "v1", "kind": "ConfigMap"}, {"apiVersion": "apps/v1", "kind": "Deployment"},
		{"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": Object{"name": "a", "namespace": "n"}},
		{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"},
		{"apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer", "metadata": Object{"name": "b"}},
		{"apiVersion": "v1", "kind": "Pod", "metadata": Object{"name": "c", "namespace": "n"}},
	}) {
		names = append(names, NameOf(o))
	}
	if got := strings.Join(names, ", "); got != "StatefulSet n/a, ClusterIssuer b, Pod n/c" {
		t.Error(got)
	}
}

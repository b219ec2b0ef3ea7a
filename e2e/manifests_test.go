package e2e

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Manifests by address: fetched and verified before anything is made, stored,
// applied before the profile's own objects, which may be of their kinds, and
// pruned.
func TestManifests(t *testing.T) {
	t.Parallel()
	const name = "e2e-manifest"
	files := map[string]string{
		"/things.yaml": `apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: things}
---
apiVersion: v1
kind: Namespace
metadata: {name: things}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec:
  group: example.com
  names: {kind: Thing, plural: things}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`,
		"/pods.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app}\n",
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(files[r.URL.Path])) }))
	defer server.Close()
	entry := func(path, of string) string {
		return fmt.Sprintf("spec.clusters[0].manifests=[{url: '%s%s', sha256: %x}]", server.URL, path, sha256.Sum256([]byte(of)))
	}
	up := func(set ...string) result {
		args := []string{"up", "--name", name, "--runtime", "process", "--timeout", "1m"}
		for _, s := range set {
			args = append(args, "--set", s)
		}
		return devenv(t, args...)
	}
	defer must(t, "down", "--name", name)
	r := up(entry("/things.yaml", "another file"))
	r.wants(t, 3, "error: Fetch manifests: could not get the manifest "+server.URL+"/things.yaml", "as the profile says", "hint: ")
	if strings.Contains(r.stderr, "✓ Start control plane") {
		t.Errorf("something was made before it was rejected:\n%s", r.stderr)
	}
	up(entry("/pods.yaml", files["/pods.yaml"])).wants(t, 2, "has a Deployment, and plain processes have no pods", "--runtime kind")

	thing := "spec.clusters[0].objects=[{apiVersion: example.com/v1, kind: Thing, metadata: {name: one, namespace: things}}]"
	manifest := entry("/things.yaml", files["/things.yaml"])
	up(manifest, thing).wants(t, 0, "✓ Apply manifests of cluster main", "ready and proven")
	admin := statusOf(t, name).Clusters[0].Kubeconfig
	mustKubectl(t, admin, "--namespace=things", "get", "things.example.com/one", "configmap/settings")
	server.Close() // it is stored
	up(manifest, thing).wants(t, 0, "· Apply manifests of cluster main", "ready and proven")
	mustKubectl(t, admin, "--namespace=things", "delete", "configmap", "settings")
	devenv(t, "status", "--name", name).wants(t, 0, "degraded", "ConfigMap things/settings")
	up().wants(t, 0, "✓ Delete what the profile no longer has")
	if out, err := kubectl(t, admin, "get", "customresourcedefinition", "things.example.com"); err == nil {
		t.Errorf("the definition is still there: %s", out)
	}
}

package identity

import (
	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/kube"
)

// WatcherName is the Deployment that rolls Dex when its certificate changes.
const WatcherName = "dex-certificate-watcher"

// watch waits for every version of the serving certificate and writes its
// fingerprint on Dex's pods, which rolls them if it is another one. The same
// fingerprint again changes nothing.
const watch = `set -eu
kubectl get secret ` + ServingSecret + ` --watch --output=jsonpath='{.data.tls\.crt}{"\n"}' |
while read -r certificate; do
  fingerprint=$(echo "$certificate" | base64 -d | sha256sum | cut -d' ' -f1)
  kubectl patch deployment ` + Release + ` --patch \
    '{"spec":{"template":{"metadata":{"annotations":{"` + certificateAnnotation + `":"'"$fingerprint"'"}}}}}'
done`

// Watcher makes Dex serve what cert-manager renews. Dex reads its certificate
// when it starts: its own watch for new files wants an event that the kubelet,
// which swaps a folder, never causes (dex, cmd/dex/serve.go, newTLSReloader).
//
// It runs the node's kubectl in Dex's image, so that nothing more is pulled.
func Watcher(image profiles.ImagePin) []kube.Object {
	metadata := func() kube.Object {
		return kube.Object{"name": WatcherName, "namespace": Namespace, "labels": kube.ManagedLabels()}
	}
	labels := kube.Object{"app": WatcherName}
	return []kube.Object{
		{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata()},
		{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata(),
			"rules": []any{
				kube.Object{"apiGroups": []any{""}, "resources": []any{"secrets"}, "resourceNames": []any{ServingSecret}, "verbs": []any{"get", "list", "watch"}},
				kube.Object{"apiGroups": []any{"apps"}, "resources": []any{"deployments"}, "resourceNames": []any{Release}, "verbs": []any{"get", "patch"}},
			},
		},
		{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata(),
			"roleRef":  kube.Object{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": WatcherName},
			"subjects": []any{kube.Object{"kind": "ServiceAccount", "name": WatcherName, "namespace": Namespace}},
		},
		{
			"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(),
			"spec": kube.Object{
				"selector": kube.Object{"matchLabels": labels},
				"template": kube.Object{
					"metadata": kube.Object{"labels": labels},
					"spec": kube.Object{
						"serviceAccountName":            WatcherName,
						"terminationGracePeriodSeconds": 1,
						"containers": []any{kube.Object{
							"name": "watch", "image": image.Ref(), "imagePullPolicy": "IfNotPresent",
							"command":      []any{"sh", "-c", watch},
							"env":          []any{kube.Object{"name": "HOME", "value": "/tmp"}},
							"volumeMounts": []any{kube.Object{"name": "kubectl", "mountPath": kubectlMount, "readOnly": true}},
						}},
						"volumes": []any{kubectlVolume()},
					},
				},
			},
		},
	}
}

// kubectlMount is on the search path of Dex's image and not used by it.
const kubectlMount = "/usr/local/sbin/kubectl"

// kubectlVolume is the node's own kubectl, one static file.
func kubectlVolume() kube.Object {
	return kube.Object{"name": "kubectl", "hostPath": kube.Object{"path": "/usr/bin/kubectl", "type": "File"}}
}

package identity

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/devenv-oidc/devenv/provision/kube"
)

// crds are Dex's kinds by plural name, as in its scripts/manifests/crds.
var crds = [][2]string{
	{"authcodes", "AuthCode"}, {"authrequests", "AuthRequest"}, {"connectors", "Connector"},
	{"devicerequests", "DeviceRequest"}, {"devicetokens", "DeviceToken"}, {"oauth2clients", "OAuth2Client"},
	{"offlinesessionses", "OfflineSessions"}, {"passwords", "Password"}, {"refreshtokens", "RefreshToken"},
	{"signingkeies", "SigningKey"},
	{"useridentities", "UserIdentity"}, {"authsessions", "AuthSession"}, // from after v2.45 on
}

// CRDs are the kinds in which Dex stores its state. Dex would create them itself and
// then crash once, because the API server is not ready to store them at once.
func CRDs() []kube.Object {
	var list []kube.Object
	for _, c := range crds {
		plural, kind := c[0], c[1]
		list = append(list, kube.Object{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
			"metadata": kube.Object{"name": plural + ".dex.coreos.com", "labels": kube.ManagedLabels()},
			"spec": kube.Object{
				"group": "dex.coreos.com",
				"names": kube.Object{"kind": kind, "listKind": kind + "List", "plural": plural},
				"scope": "Namespaced",
				"versions": []any{kube.Object{
					"name": "v1", "served": true, "storage": true,
					"schema": kube.Object{"openAPIV3Schema": kube.Object{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
				}},
			},
		})
	}
	return list
}

// User is whom the API server takes a Dex for that runs as a plain process.
const User = "dex"

// StorageAccess lets User store Dex's state in Namespace, with the permissions that
// the chart gives Dex's service account.
func StorageAccess() []kube.Object {
	const rbac = "rbac.authorization.k8s.io"
	metadata := func() kube.Object { return kube.Object{"name": User, "labels": kube.ManagedLabels()} }
	namespaced := func() kube.Object {
		m := metadata()
		m["namespace"] = Namespace
		return m
	}
	subjects := []any{kube.Object{"apiGroup": rbac, "kind": "User", "name": User}}
	return []kube.Object{
		{"apiVersion": rbac + "/v1", "kind": "Role", "metadata": namespaced(), "rules": []any{
			kube.Object{"apiGroups": []any{"dex.coreos.com"}, "resources": []any{"*"}, "verbs": []any{"*"}},
		}},
		{"apiVersion": rbac + "/v1", "kind": "RoleBinding", "metadata": namespaced(), "subjects": subjects,
			"roleRef": kube.Object{"apiGroup": rbac, "kind": "Role", "name": User}},
		{"apiVersion": rbac + "/v1", "kind": "ClusterRole", "metadata": metadata(), "rules": []any{
			kube.Object{"apiGroups": []any{"apiextensions.k8s.io"}, "resources": []any{"customresourcedefinitions"}, "verbs": []any{"list", "create"}},
			// everybody's right, once the API server has made its own roles; Dex asks before
			kube.Object{"nonResourceURLs": []any{"/version"}, "verbs": []any{"get"}},
		}},
		{"apiVersion": rbac + "/v1", "kind": "ClusterRoleBinding", "metadata": metadata(), "subjects": subjects,
			"roleRef": kube.Object{"apiGroup": rbac, "kind": "ClusterRole", "name": User}},
	}
}

var crdResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// firstObjectDelay is how long the API server makes the first objects of a new
// kind wait, so that its peers get to know the kind (k8s.io/apiextensions-
// apiserver, pkg/apiserver/customresource_handler.go, justCreated).
const firstObjectDelay = 2 * time.Second

// SettleCRDs waits until Dex's kinds are established, and for those that are
// new ends the delay for their first objects: for an API server that has no
// peers.
func SettleCRDs(ctx context.Context, admin *kube.Client) error {
	definitions := admin.Dynamic.Resource(crdResource)
	for _, c := range crds {
		name := c[0] + ".dex.coreos.com"
		err := kube.PollEvery(ctx, storageInterval, "the kind "+c[1]+" to be established", func(ctx context.Context) error {
			crd, err := definitions.Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			recent, err := setBack(crd)
			if err != nil || !recent {
				return err
			}
			_, err = definitions.UpdateStatus(ctx, crd, metav1.UpdateOptions{FieldManager: kube.FieldManager})
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

const storageInterval = 25 * time.Millisecond

// setBack makes the condition Established older than the delay; recent says
// whether it was not.
func setBack(crd *unstructured.Unstructured) (recent bool, err error) {
	conditions, _, err := unstructured.NestedSlice(crd.Object, "status", "conditions")
	if err != nil {
		return false, err
	}
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		if condition["type"] != "Established" || condition["status"] != "True" {
			continue
		}
		at, err := time.Parse(time.RFC3339, fmt.Sprint(condition["lastTransitionTime"]))
		if err != nil || time.Since(at) > firstObjectDelay {
			return false, err
		}
		condition["lastTransitionTime"] = at.Add(-2 * firstObjectDelay).Format(time.RFC3339)
		return true, unstructured.SetNestedSlice(crd.Object, conditions, "status", "conditions")
	}
	return false, errors.New("it is not yet")
}

// WaitForStorage waits until a user is allowed to read every kind of Dex's objects: a
// Dex that starts before would end at once. It asks again at once when the API
// server says "later", which client-go would wait a second for.
func WaitForStorage(ctx context.Context, user *kube.Client) error {
	for _, c := range crds {
		path := "/apis/dex.coreos.com/v1/namespaces/" + Namespace + "/" + c[0]
		err := kube.PollEvery(ctx, storageInterval, "the API server to store "+c[0]+" for Dex", func(ctx context.Context) error {
			return user.Core.Discovery().RESTClient().Get().AbsPath(path).MaxRetries(0).Do(ctx).Error()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Package access applies RBAC: namespaces, and bindings of roles to users and
// groups.
package access

import (
	"cmp"
	"context"
	"fmt"
	"maps"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/kube"
)

const rbacGroup = "rbac.authorization.k8s.io"

// labels mark the objects that a profile's access made, so that those it no
// longer has can be found. Other parts of devenv have bindings too.
var labels = kube.Object{"app.kubernetes.io/managed-by": kube.FieldManager, kube.PartLabel: "access"}

const selector = kube.ManagedSelector + "," + kube.PartLabel + "=access"

// builtIn marks the roles that Kubernetes has by itself, where the profile only
// added labels: they must never be deleted.
var builtIn = kube.Object{kube.PartLabel: "labels"}

const builtInSelector = kube.PartLabel + "=labels"

// Ensure makes a cluster have these namespaces and bindings, and unless keep
// says so none that an earlier profile had. Namespaces are never deleted: they
// can hold somebody's work.
//
// With publicIssuer everybody is allowed to read the discovery document and the keys of
// its service accounts' issuer.
func Ensure(ctx context.Context, client *kube.Client, a profiles.Access, publicIssuer, keep bool) (changed bool, err error) {
	for _, b := range a.Bindings {
		did, err := deleteOtherRole(ctx, client, b)
		if err != nil {
			return changed, err
		}
		changed = changed || did
	}
	objects := wanted(a, publicIssuer)
	applied, err := client.Apply(ctx, objects...)
	if err != nil || keep {
		return changed || applied, err
	}
	pruned, err := prune(ctx, client, objects)
	return changed || applied || pruned, err
}

// Differences says what Ensure would change.
func Differences(ctx context.Context, client *kube.Client, a profiles.Access, publicIssuer, keep bool) ([]kube.Difference, error) {
	objects := wanted(a, publicIssuer)
	found, err := client.Differences(ctx, objects...)
	if err != nil || keep {
		return found, err
	}
	err = others(ctx, client, objects, func(_ schema.GroupVersionResource, o *unstructured.Unstructured) error {
		found = append(found, kube.Difference{Object: kube.Name(o), Have: kube.Present, Want: kube.Unwanted})
		return nil
	})
	return found, err
}

func wanted(a profiles.Access, publicIssuer bool) []kube.Object {
	objects := Objects(a)
	if publicIssuer {
		objects = append(objects, openIssuer())
	}
	return objects
}

// openIssuer opens the issuer
// (https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery).
func openIssuer() kube.Object {
	return kube.Object{
		"apiVersion": rbacGroup + "/v1", "kind": "ClusterRoleBinding",
		"metadata": kube.Object{"name": "devenv:public-issuer", "labels": labels},
		"roleRef":  kube.Object{"apiGroup": rbacGroup, "kind": "ClusterRole", "name": "system:service-account-issuer-discovery"},
		"subjects": []any{kube.Object{"apiGroup": rbacGroup, "kind": rbacv1.GroupKind, "name": "system:unauthenticated"}},
	}
}

// Objects are the namespaces, roles and bindings as they are applied.
func Objects(a profiles.Access) []kube.Object {
	var objects []kube.Object
	for _, name := range a.Namespaces {
		objects = append(objects, kube.Object{
			"apiVersion": "v1", "kind": "Namespace",
			"metadata": kube.Object{"name": name, "labels": labels},
		})
	}
	for _, r := range a.BuiltInRoles {
		objects = append(objects, kube.Object{
			"apiVersion": rbacGroup + "/v1", "kind": "ClusterRole",
			"metadata": kube.Object{"name": r.Name, "labels": with(r.Labels, builtIn)},
		})
	}
	for _, r := range a.ClusterRoles {
		objects = append(objects, kube.Object{
			"apiVersion": rbacGroup + "/v1", "kind": "ClusterRole",
			"metadata": kube.Object{"name": r.Name, "labels": with(r.Labels, labels)}, "rules": r.Rules,
		})
	}
	for _, r := range a.Roles {
		objects = append(objects, kube.Object{
			"apiVersion": rbacGroup + "/v1", "kind": "Role",
			"metadata": kube.Object{"name": r.Name, "namespace": r.Namespace, "labels": with(r.Labels, labels)}, "rules": r.Rules,
		})
	}
	for _, b := range a.Bindings {
		objects = append(objects, binding(b))
	}
	return objects
}

// with are the profile's labels and devenv's own.
func with(own map[string]string, ours kube.Object) kube.Object {
	all := kube.Object{}
	for key, value := range own {
		all[key] = value
	}
	maps.Copy(all, ours)
	return all
}

func binding(b profiles.Binding) kube.Object {
	var subjects []any
	for _, u := range b.Users {
		subjects = append(subjects, kube.Object{"apiGroup": rbacGroup, "kind": rbacv1.UserKind, "name": u})
	}
	for _, g := range b.Groups {
		subjects = append(subjects, kube.Object{"apiGroup": rbacGroup, "kind": rbacv1.GroupKind, "name": g})
	}
	metadata := kube.Object{"name": b.Name, "labels": labels}
	kind := "ClusterRoleBinding"
	if b.Namespace != "" {
		kind = "RoleBinding"
		metadata["namespace"] = b.Namespace
	}
	return kube.Object{
		"apiVersion": rbacGroup + "/v1", "kind": kind, "metadata": metadata,
		"roleRef":  kube.Object{"apiGroup": rbacGroup, "kind": roleKind(b), "name": cmp.Or(b.Role, b.ClusterRole)},
		"subjects": subjects,
	}
}

func roleKind(b profiles.Binding) string {
	if b.Role != "" {
		return "Role"
	}
	return "ClusterRole"
}

// Bind grants what a binding says until Unbind; the next Ensure deletes what
// nobody took back.
func Bind(ctx context.Context, client *kube.Client, b profiles.Binding) error {
	if _, err := deleteOtherRole(ctx, client, b); err != nil {
		return err
	}
	_, err := client.Apply(ctx, binding(b))
	return err
}

// Unbind takes it back.
func Unbind(ctx context.Context, client *kube.Client, b profiles.Binding) error {
	kind := bindings
	if b.Namespace == "" {
		kind = clusterRoleBindings
	}
	return remove(ctx, client, kind, b.Namespace, b.Name)
}

// deleteOtherRole removes a binding that grants another role: a roleRef cannot
// be changed.
func deleteOtherRole(ctx context.Context, client *kube.Client, b profiles.Binding) (changed bool, err error) {
	var have rbacv1.RoleRef
	if b.Namespace == "" {
		binding, getErr := client.Core.RbacV1().ClusterRoleBindings().Get(ctx, b.Name, metav1.GetOptions{})
		have, err = binding.RoleRef, getErr
	} else {
		binding, getErr := client.Core.RbacV1().RoleBindings(b.Namespace).Get(ctx, b.Name, metav1.GetOptions{})
		have, err = binding.RoleRef, getErr
	}
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("could not read the binding %q: %w", b.Name, err)
	}
	if have.Kind == roleKind(b) && have.Name == cmp.Or(b.Role, b.ClusterRole) {
		return false, nil
	}
	return true, Unbind(ctx, client, b)
}

// The kinds that are pruned: bindings before the roles they name.
var (
	clusterRoleBindings = rbacv1.SchemeGroupVersion.WithResource("clusterrolebindings")
	bindings            = rbacv1.SchemeGroupVersion.WithResource("rolebindings")
	clusterRoles        = rbacv1.SchemeGroupVersion.WithResource("clusterroles")
	roles               = rbacv1.SchemeGroupVersion.WithResource("roles")
)

type objectKey struct{ kind, namespace, name string }

func keysOf(objects []kube.Object) map[objectKey]bool {
	keys := map[objectKey]bool{}
	for _, o := range objects {
		u := unstructured.Unstructured{Object: o}
		keys[objectKey{u.GetKind(), u.GetNamespace(), u.GetName()}] = true
	}
	return keys
}

// others calls do with each role and binding that devenv made and that is not
// to be kept.
func others(ctx context.Context, client *kube.Client, keep []kube.Object, do func(schema.GroupVersionResource, *unstructured.Unstructured) error) error {
	kept := keysOf(keep)
	for _, kind := range []schema.GroupVersionResource{clusterRoleBindings, bindings, clusterRoles, roles} {
		list, err := client.Dynamic.Resource(kind).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return fmt.Errorf("could not list %s: %w", kind.Resource, err)
		}
		for i := range list.Items {
			o := &list.Items[i]
			if kept[objectKey{o.GetKind(), o.GetNamespace(), o.GetName()}] {
				continue
			}
			if err := do(kind, o); err != nil {
				return err
			}
		}
	}
	return nil
}

// prune deletes roles and bindings that devenv made and the profile no longer
// has, and takes its labels off the roles that Kubernetes has by itself.
func prune(ctx context.Context, client *kube.Client, keep []kube.Object) (changed bool, err error) {
	err = others(ctx, client, keep, func(kind schema.GroupVersionResource, o *unstructured.Unstructured) error {
		changed = true
		return remove(ctx, client, kind, o.GetNamespace(), o.GetName())
	})
	if err != nil {
		return changed, err
	}
	kept := keysOf(keep)
	labelled, err := client.Core.RbacV1().ClusterRoles().List(ctx, metav1.ListOptions{LabelSelector: builtInSelector})
	if err != nil {
		return changed, fmt.Errorf("could not list clusterroles: %w", err)
	}
	for _, r := range labelled.Items {
		if kept[objectKey{"ClusterRole", "", r.Name}] {
			continue
		}
		bare := kube.Object{"apiVersion": rbacGroup + "/v1", "kind": "ClusterRole", "metadata": kube.Object{"name": r.Name}}
		if _, err := client.Apply(ctx, bare); err != nil { // which takes back what was applied before
			return changed, err
		}
		changed = true
	}
	return changed, nil
}

func remove(ctx context.Context, client *kube.Client, kind schema.GroupVersionResource, namespace, name string) error {
	err := client.Dynamic.Resource(kind).Namespace(namespace).Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("could not delete %q of %s: %w", name, kind.Resource, err)
	}
	return nil
}

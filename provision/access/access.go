// Package access applies RBAC: namespaces, and bindings of roles to users and
// groups.
package access

import (
	"context"
	"fmt"
	"maps"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/kube"
)

const rbacGroup = "rbac.authorization.k8s.io"

// labels mark the objects that a profile's access made, so that those it no
// longer has can be found. Other parts of devenv have bindings too.
var labels = kube.Object{"app.kubernetes.io/managed-by": kube.FieldManager, "devenv.dev/part": "access"}

const selector = kube.ManagedSelector + ",devenv.dev/part=access"

// Ensure makes a cluster have these namespaces and bindings, and none that an
// earlier profile had. Namespaces are never deleted: they may hold somebody's
// work.
func Ensure(ctx context.Context, client *kube.Client, a profiles.Access) (changed bool, err error) {
	for _, b := range a.Bindings {
		did, err := deleteOtherRole(ctx, client, b)
		if err != nil {
			return changed, err
		}
		changed = changed || did
	}
	applied, err := client.Apply(ctx, Objects(a)...)
	if err != nil {
		return changed || applied, err
	}
	pruned, err := prune(ctx, client, a)
	return changed || applied || pruned, err
}

// OpenIssuer lets everybody read the discovery document and the keys of the
// cluster's service accounts' issuer
// (https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery).
func OpenIssuer(ctx context.Context, client *kube.Client) (changed bool, err error) {
	return client.Apply(ctx, kube.Object{
		"apiVersion": rbacGroup + "/v1", "kind": "ClusterRoleBinding",
		"metadata": kube.Object{"name": "devenv:public-issuer", "labels": kube.ManagedLabels()},
		"roleRef":  kube.Object{"apiGroup": rbacGroup, "kind": "ClusterRole", "name": "system:service-account-issuer-discovery"},
		"subjects": []any{kube.Object{"apiGroup": rbacGroup, "kind": rbacv1.GroupKind, "name": "system:unauthenticated"}},
	})
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
	for _, r := range a.ClusterRoles {
		objects = append(objects, clusterRole(r))
	}
	for _, b := range a.Bindings {
		objects = append(objects, binding(b))
	}
	return objects
}

func clusterRole(r profiles.ClusterRole) kube.Object {
	marked := kube.Object{}
	for key, value := range r.Labels {
		marked[key] = value
	}
	maps.Copy(marked, labels)
	return kube.Object{
		"apiVersion": rbacGroup + "/v1", "kind": "ClusterRole",
		"metadata": kube.Object{"name": r.Name, "labels": marked}, "rules": r.Rules,
	}
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
		"roleRef":  kube.Object{"apiGroup": rbacGroup, "kind": "ClusterRole", "name": b.ClusterRole},
		"subjects": subjects,
	}
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
	if have.Kind == "ClusterRole" && have.Name == b.ClusterRole {
		return false, nil
	}
	return true, deleteBinding(ctx, client, b.Namespace, b.Name)
}

func deleteBinding(ctx context.Context, client *kube.Client, namespace, name string) error {
	var err error
	if namespace == "" {
		err = client.Core.RbacV1().ClusterRoleBindings().Delete(ctx, name, metav1.DeleteOptions{})
	} else {
		err = client.Core.RbacV1().RoleBindings(namespace).Delete(ctx, name, metav1.DeleteOptions{})
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("could not delete the binding %q: %w", name, err)
	}
	return nil
}

// prune deletes roles and bindings that devenv made and the profile no longer
// has.
func prune(ctx context.Context, client *kube.Client, keep profiles.Access) (changed bool, err error) {
	bindings, err := pruneBindings(ctx, client, keep.Bindings)
	if err != nil {
		return bindings, err
	}
	roles, err := client.Core.RbacV1().ClusterRoles().List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return bindings, fmt.Errorf("could not list roles: %w", err)
	}
	for _, r := range roles.Items {
		if slices.ContainsFunc(keep.ClusterRoles, func(k profiles.ClusterRole) bool { return k.Name == r.Name }) {
			continue
		}
		if err := client.Core.RbacV1().ClusterRoles().Delete(ctx, r.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return changed, fmt.Errorf("could not delete the ClusterRole %q: %w", r.Name, err)
		}
		changed = true
	}
	return bindings || changed, nil
}

func pruneBindings(ctx context.Context, client *kube.Client, keep []profiles.Binding) (changed bool, err error) {
	wanted := map[[2]string]bool{}
	for _, b := range keep {
		wanted[[2]string{b.Namespace, b.Name}] = true
	}
	list := metav1.ListOptions{LabelSelector: selector}
	everywhere, err := client.Core.RbacV1().ClusterRoleBindings().List(ctx, list)
	if err != nil {
		return false, fmt.Errorf("could not list bindings: %w", err)
	}
	namespaced, err := client.Core.RbacV1().RoleBindings("").List(ctx, list)
	if err != nil {
		return false, fmt.Errorf("could not list bindings: %w", err)
	}
	var found [][2]string
	for _, b := range everywhere.Items {
		found = append(found, [2]string{"", b.Name})
	}
	for _, b := range namespaced.Items {
		found = append(found, [2]string{b.Namespace, b.Name})
	}
	for _, f := range found {
		if wanted[f] {
			continue
		}
		if err := deleteBinding(ctx, client, f[0], f[1]); err != nil {
			return changed, err
		}
		changed = true
	}
	return changed, nil
}

package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// binder is the service account of a consumer.
const binder = "klutch-binder"

// resourceOf are the kinds that the stand-in makes, beside Klutch's.
var resourceOf = map[string]schema.GroupVersionResource{
	"Namespace":                {Version: "v1", Resource: "namespaces"},
	"ServiceAccount":           {Version: "v1", Resource: "serviceaccounts"},
	"Secret":                   secrets,
	"RoleBinding":              {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
	"Role":                     {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"},
	"ClusterBinding":           clusters,
	"APIServiceExport":         exports,
	"APIServiceNamespace":      namespaces,
	"CustomResourceDefinition": definitions,
}

// ensure creates an object that is not there.
func ensure(ctx context.Context, cluster dynamic.Interface, o *unstructured.Unstructured) error {
	_, err := cluster.Resource(resourceOf[o.GetKind()]).Namespace(o.GetNamespace()).Create(ctx, o, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// permit lets a consumer's service account do everything with some API groups in
// a namespace.
func (s *server) permit(ctx context.Context, consumer, namespace string, rules ...any) error {
	role := object("rbac.authorization.k8s.io/v1", "Role", namespace, binder, map[string]any{"rules": rules})
	binding := object("rbac.authorization.k8s.io/v1", "RoleBinding", namespace, binder, map[string]any{
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": binder},
		"subjects": []any{map[string]any{"kind": "ServiceAccount", "name": binder, "namespace": consumer}},
	})
	return errors.Join(ensure(ctx, s.cluster, role), ensure(ctx, s.cluster, binding))
}

func rule(group string, resources ...any) map[string]any {
	return map[string]any{"apiGroups": []any{group}, "resources": resources, "verbs": []any{"*"}}
}

// consumer makes the namespace of whoever logged in, or finds it, and a
// kubeconfig for it.
func (s *server) consumer(ctx context.Context, identity string) (kubeconfig []byte, err error) {
	namespace := fmt.Sprintf("%s-%x", s.namespacePrefix, sha256.Sum256([]byte(identity)))[:len(s.namespacePrefix)+11]
	made := object("v1", "Namespace", "", namespace, nil)
	made.SetAnnotations(map[string]string{"example-backend.klutch.anynines.com/identity": identity})
	token := object("v1", "Secret", namespace, binder, map[string]any{"type": "kubernetes.io/service-account-token"})
	token.SetAnnotations(map[string]string{"kubernetes.io/service-account.name": binder})
	for _, o := range []*unstructured.Unstructured{
		made,
		object("v1", "ServiceAccount", namespace, binder, nil),
		token,
		object(group+"/v1alpha1", "ClusterBinding", namespace, "cluster", map[string]any{"spec": map[string]any{
			"kubeconfigSecretRef": map[string]any{"name": "kubeconfig", "key": "kubeconfig"}, "providerPrettyName": "example-backend",
			"serviceProviderSpec": map[string]any{},
		}}),
	} {
		if err := ensure(ctx, s.cluster, o); err != nil {
			return nil, fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	if err := s.permit(ctx, namespace, namespace, rule(group, "*"), rule("", "secrets")); err != nil {
		return nil, err
	}
	var bearer []byte
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		secret, err := s.cluster.Resource(secrets).Namespace(namespace).Get(ctx, binder, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		bearer, err = base64.StdEncoding.DecodeString(text(secret, "data", "token"))
		return len(bearer) > 0, err
	})
	if err != nil {
		return nil, fmt.Errorf("the service account's token: %w", err)
	}
	kubeconfig, err = clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"default": {Server: s.externalAddress, CertificateAuthorityData: s.ca}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"default": {Token: string(bearer)}},
		Contexts:       map[string]*clientcmdapi.Context{"default": {Cluster: "default", AuthInfo: "default", Namespace: namespace}},
		CurrentContext: "default",
	})
	if err != nil {
		return nil, err
	}
	return kubeconfig, ensure(ctx, s.cluster, object("v1", "Secret", namespace, "kubeconfig", map[string]any{
		"data": map[string]any{"kubeconfig": base64.StdEncoding.EncodeToString(kubeconfig)},
	}))
}

func (s *server) exported(ctx context.Context, wanted api) (bool, error) {
	list, err := s.cluster.Resource(templates).List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, err
	}
	for i := range list.Items {
		if text(&list.Items[i], "spec", "APIServiceSelector", "group") == wanted.Group && text(&list.Items[i], "spec", "APIServiceSelector", "resource") == wanted.Resource {
			return true, nil
		}
	}
	return false, nil
}

// reconcile answers what consumers ask for in their namespaces: exports, and
// namespaces for their objects.
func (s *server) reconcile(ctx context.Context) error {
	asked, err := s.cluster.Resource(requests).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range asked.Items {
		if o := &asked.Items[i]; text(o, "status", "phase") == "" {
			err = errors.Join(err, s.answer(ctx, o))
		}
	}
	wanted, listErr := s.cluster.Resource(namespaces).List(ctx, metav1.ListOptions{})
	if listErr != nil {
		return errors.Join(err, listErr)
	}
	for i := range wanted.Items {
		if o := &wanted.Items[i]; text(o, "status", "namespace") == "" {
			err = errors.Join(err, s.give(ctx, o))
		}
	}
	return err
}

// answer exports what a request names: the definition goes to the consumer.
func (s *server) answer(ctx context.Context, o *unstructured.Unstructured) error {
	resources, _, _ := unstructured.NestedSlice(o.Object, "spec", "resources")
	phase := "Succeeded"
	for _, r := range resources {
		fields, _ := r.(map[string]any)
		wanted := api{fmt.Sprint(fields["group"]), fmt.Sprint(fields["resource"])}
		exported, err := s.exported(ctx, wanted)
		if err != nil {
			return err
		}
		if !exported {
			phase = "Failed"
			continue
		}
		name := wanted.Resource + "." + wanted.Group
		definition, err := s.cluster.Resource(definitions).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		spec, _, _ := unstructured.NestedMap(definition.Object, "spec")
		delete(spec, "conversion")
		if err := ensure(ctx, s.cluster, object(group+"/v1alpha1", "APIServiceExport", o.GetNamespace(), name, map[string]any{"spec": spec})); err != nil {
			return err
		}
	}
	return setStatus(ctx, s.cluster, requests, o, map[string]any{"phase": phase})
}

// give makes the namespace that the objects of a consumer's namespace go to.
func (s *server) give(ctx context.Context, o *unstructured.Unstructured) error {
	name := o.GetNamespace() + "-" + o.GetName()
	if err := ensure(ctx, s.cluster, object("v1", "Namespace", "", name, nil)); err != nil {
		return err
	}
	list, err := s.cluster.Resource(exports).Namespace(o.GetNamespace()).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	var rules []any
	for i := range list.Items {
		rules = append(rules, rule(text(&list.Items[i], "spec", "group"), "*"))
	}
	if err := s.permit(ctx, o.GetNamespace(), name, rules...); err != nil {
		return err
	}
	return setStatus(ctx, s.cluster, namespaces, o, map[string]any{"namespace": name})
}

func setStatus(ctx context.Context, cluster dynamic.Interface, of schema.GroupVersionResource, o *unstructured.Unstructured, status map[string]any) error {
	o = o.DeepCopy()
	o.Object["status"] = status
	_, err := cluster.Resource(of).Namespace(o.GetNamespace()).UpdateStatus(ctx, o, metav1.UpdateOptions{})
	return err
}

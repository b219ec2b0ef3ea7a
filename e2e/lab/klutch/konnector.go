package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log"
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// konnector serves every APIServiceBinding of its cluster.
func konnector(ctx context.Context, config *rest.Config) error {
	own, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	log.Print("looking for bindings")
	every(ctx, func(ctx context.Context) error {
		list, err := own.Resource(bindings).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for i := range list.Items {
			if bindErr := serve(ctx, own, &list.Items[i]); bindErr != nil {
				err = errors.Join(err, fmt.Errorf("binding %s: %w", list.Items[i].GetName(), bindErr))
			}
		}
		return err
	})
	return nil
}

// serve defines the kind of a binding in the app cluster, and synchronizes its
// objects.
func serve(ctx context.Context, own dynamic.Interface, binding *unstructured.Unstructured) error {
	provider, consumer, err := control(ctx, own, binding)
	if err != nil {
		return err
	}
	export, err := provider.Resource(exports).Namespace(consumer).Get(ctx, binding.GetName(), metav1.GetOptions{})
	if err != nil {
		return err
	}
	spec, _, _ := unstructured.NestedMap(export.Object, "spec")
	if err := ensure(ctx, own, object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", export.GetName(), map[string]any{"spec": spec})); err != nil {
		return err
	}
	versions, _, _ := unstructured.NestedSlice(export.Object, "spec", "versions")
	if len(versions) == 0 {
		return errors.New("the export has no versions")
	}
	version, _ := versions[0].(map[string]any)
	of := schema.GroupVersionResource{Group: text(export, "spec", "group"), Version: fmt.Sprint(version["name"]), Resource: text(export, "spec", "names", "plural")}
	return synchronize(ctx, own, provider, consumer, of)
}

// control is the control plane, by the kubeconfig that a binding names.
func control(ctx context.Context, own dynamic.Interface, binding *unstructured.Unstructured) (provider dynamic.Interface, namespace string, err error) {
	ref := func(field string) string { return text(binding, "spec", "kubeconfigSecretRef", field) }
	secret, err := own.Resource(secrets).Namespace(ref("namespace")).Get(ctx, ref("name"), metav1.GetOptions{})
	if err != nil {
		return nil, "", err
	}
	kubeconfig, err := base64.StdEncoding.DecodeString(text(secret, "data", ref("key")))
	if err != nil {
		return nil, "", err
	}
	loaded, err := clientcmd.NewClientConfigFromBytes(kubeconfig)
	if err != nil {
		return nil, "", err
	}
	config, configErr := loaded.ClientConfig()
	namespace, _, namespaceErr := loaded.Namespace()
	if err := errors.Join(configErr, namespaceErr); err != nil {
		return nil, "", err
	}
	provider, err = dynamic.NewForConfig(config)
	return provider, namespace, err
}

// synchronize copies specs up and statuses down, and deletes above what was
// deleted here.
func synchronize(ctx context.Context, own, provider dynamic.Interface, consumer string, of schema.GroupVersionResource) error {
	list, err := own.Resource(of).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	here := map[string]bool{}
	for i := range list.Items {
		o := &list.Items[i]
		here[o.GetNamespace()+"/"+o.GetName()] = true
		above, nsErr := place(ctx, provider, consumer, o.GetNamespace())
		if nsErr != nil || above == "" {
			err = errors.Join(err, nsErr)
			continue
		}
		err = errors.Join(err, copyObject(ctx, own, provider, of, above, o))
	}
	places, listErr := provider.Resource(namespaces).Namespace(consumer).List(ctx, metav1.ListOptions{})
	if listErr != nil {
		return errors.Join(err, listErr)
	}
	for i := range places.Items {
		above := text(&places.Items[i], "status", "namespace")
		if above == "" {
			continue
		}
		copies, listErr := provider.Resource(of).Namespace(above).List(ctx, metav1.ListOptions{})
		if listErr != nil {
			err = errors.Join(err, listErr)
			continue
		}
		for j := range copies.Items {
			if name := copies.Items[j].GetName(); !here[places.Items[i].GetName()+"/"+name] {
				err = errors.Join(err, provider.Resource(of).Namespace(above).Delete(ctx, name, metav1.DeleteOptions{}))
			}
		}
	}
	return err
}

// place is the namespace of the control plane for one of the app cluster; empty
// while the backend has not made it.
func place(ctx context.Context, provider dynamic.Interface, consumer, namespace string) (string, error) {
	found, err := provider.Resource(namespaces).Namespace(consumer).Get(ctx, namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", ensure(ctx, provider, object(group+"/v1alpha1", "APIServiceNamespace", consumer, namespace, nil))
	}
	if err != nil {
		return "", err
	}
	return text(found, "status", "namespace"), nil
}

func copyObject(ctx context.Context, own, provider dynamic.Interface, of schema.GroupVersionResource, above string, o *unstructured.Unstructured) error {
	to := provider.Resource(of).Namespace(above)
	have, err := to.Get(ctx, o.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		made := object(o.GetAPIVersion(), o.GetKind(), above, o.GetName(), map[string]any{"spec": o.Object["spec"]})
		_, err = to.Create(ctx, made, metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(have.Object["spec"], o.Object["spec"]) {
		have.Object["spec"] = o.Object["spec"]
		if _, err := to.Update(ctx, have, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	status, ok := have.Object["status"].(map[string]any)
	if !ok || reflect.DeepEqual(status, o.Object["status"]) {
		return nil
	}
	return setStatus(ctx, own, of, o, status)
}

package kube

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/dynamic"
)

// Object is a Kubernetes object as in its YAML.
type Object = map[string]any

// Apply applies objects in order, on the server's side; changed says whether
// the server stored anything new.
func (c *Client) Apply(ctx context.Context, objects ...Object) (changed bool, err error) {
	for _, o := range objects {
		object := &unstructured.Unstructured{Object: o}
		did, err := c.applyOne(ctx, object)
		if err != nil {
			return changed, fmt.Errorf("could not apply %s: %w", Name(object), err)
		}
		changed = changed || did
	}
	return changed, nil
}

// EnsureNamespace creates a namespace where there is none; one that exists stays
// as it is.
func (c *Client) EnsureNamespace(ctx context.Context, name string) (changed bool, err error) {
	if _, err := c.Core.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		return false, err
	}
	return c.Apply(ctx, Object{"apiVersion": "v1", "kind": "Namespace", "metadata": Object{"name": name, "labels": ManagedLabels()}})
}

// copyOf is an object of its own, in the types that JSON has: objects are also
// made of ints and structs, which unstructured's own copy does not know.
func copyOf(o Object) *unstructured.Unstructured {
	text, err := json.Marshal(o)
	if err == nil {
		o = Object{}
		err = json.Unmarshal(text, &o)
	}
	if err != nil {
		panic(err) // made of YAML, or of Go types that are encoded every day
	}
	return &unstructured.Unstructured{Object: o}
}

// Name says which object it is, for people: kind, namespace and name.
func Name(o *unstructured.Unstructured) string {
	if o.GetNamespace() == "" {
		return o.GetKind() + " " + o.GetName()
	}
	return o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
}

// resource returns the dynamic client for an object's kind and namespace.
func (c *Client) resource(o *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	kind := o.GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		c.mapper.Reset() // it may have come with a CRD since
		mapping, err = c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return c.Dynamic.Resource(mapping.Resource), nil
	}
	if o.GetNamespace() == "" { // as kubectl does
		o.SetNamespace(metav1.NamespaceDefault)
	}
	return c.Dynamic.Resource(mapping.Resource).Namespace(o.GetNamespace()), nil
}

func (c *Client) applyOne(ctx context.Context, o *unstructured.Unstructured) (changed bool, err error) {
	resource, err := c.resource(o)
	if err != nil {
		return false, err
	}
	before := ""
	if old, err := resource.Get(ctx, o.GetName(), metav1.GetOptions{}); err == nil {
		before = old.GetResourceVersion()
	} else if !apierrors.IsNotFound(err) {
		return false, err
	}
	after, err := resource.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: FieldManager, Force: true})
	if err != nil {
		return false, err
	}
	return after.GetResourceVersion() != before, nil
}

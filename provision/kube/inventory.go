package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// PartLabel says which part of devenv made an object, so that what that part no
// longer wants can be found.
const PartLabel = "devenv.dev/part"

// Inventory remembers which objects were applied for one part of a profile: they
// can be of any kind, and asking for all kinds by a label would take seconds. It
// is a ConfigMap in the cluster, so that it lives as long as what it lists.
type Inventory struct {
	Client *Client
	// Part is the value of PartLabel, and the ConfigMap's name with "devenv-"
	// before it.
	Part string
}

// inventoryNamespace exists in every cluster.
const inventoryNamespace = "kube-system"

const inventoryKey = "objects.json"

// entry names one object.
type entry struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
}

// entry is an object's. Before its kind exists, the default namespace is not
// filled in; entries are completed when they are read again.
func (i Inventory) entry(o *unstructured.Unstructured) entry {
	_, _ = i.Client.resource(o) // fills in the default namespace
	return entry{o.GetAPIVersion(), o.GetKind(), o.GetNamespace(), o.GetName()}
}

func (e entry) object() *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetAPIVersion(e.APIVersion)
	o.SetKind(e.Kind)
	o.SetNamespace(e.Namespace)
	o.SetName(e.Name)
	return o
}

// marked is a copy of an object with the part's label.
func (i Inventory) marked(o Object) *unstructured.Unstructured {
	object := copyOf(o)
	labels := object.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[PartLabel] = i.Part
	object.SetLabels(labels)
	return object
}

// Apply applies objects in order, and remembers them before: what is interrupted
// is not forgotten.
func (i Inventory) Apply(ctx context.Context, objects ...Object) (changed bool, err error) {
	known, err := i.read(ctx)
	if err != nil {
		return false, err
	}
	var marked []Object
	entries := slices.Clone(known)
	for _, o := range objects {
		object := i.marked(o)
		marked = append(marked, object.Object)
		if e := i.entry(object); !slices.Contains(entries, e) {
			entries = append(entries, e)
		}
	}
	if err := i.write(ctx, known, entries); err != nil {
		return false, err
	}
	for _, o := range marked {
		did, err := i.Client.Apply(ctx, o)
		if changed = changed || did; err != nil {
			return changed, err
		}
		if object := (&unstructured.Unstructured{Object: o}); did && object.GetKind() == "CustomResourceDefinition" {
			if err := i.Client.waitEstablished(ctx, object); err != nil {
				return changed, err
			}
		}
	}
	return changed, nil
}

// establishLimit is how long an API server takes at most to serve a new kind.
const establishLimit = 30 * time.Second

// waitEstablished waits until objects of a new kind can be applied.
func (c *Client) waitEstablished(ctx context.Context, definition *unstructured.Unstructured) error {
	definitions, err := c.resource(definition)
	if err != nil {
		return err
	}
	name := definition.GetName()
	ctx, cancel := context.WithTimeoutCause(ctx, establishLimit, fmt.Errorf("the limit of %s was reached", establishLimit))
	defer cancel()
	return PollEvery(ctx, 50*time.Millisecond, "the kind "+name+" to be established", func(ctx context.Context) error {
		have, err := definitions.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		conditions, _, _ := unstructured.NestedSlice(have.Object, "status", "conditions")
		for _, item := range conditions {
			condition, _ := item.(map[string]any)
			switch {
			case condition["type"] == "Established" && condition["status"] == "True":
				return nil
			case condition["type"] == "NamesAccepted" && condition["status"] == "False":
				return fmt.Errorf("%v", condition["message"])
			}
		}
		return errors.New("it is not yet")
	})
}

// Differences says what Apply and Prune would change.
func (i Inventory) Differences(ctx context.Context, prune bool, objects ...Object) ([]Difference, error) {
	var marked []Object
	for _, o := range objects {
		marked = append(marked, i.marked(o).Object)
	}
	found, err := i.Client.Differences(ctx, marked...)
	if err != nil || !prune {
		return found, err
	}
	others, _, err := i.others(ctx, objects)
	for _, o := range others {
		found = append(found, Difference{Object: Name(o), Have: Present, Want: Unwanted})
	}
	return found, err
}

// Prune deletes what was applied before and is not among the objects that are
// wanted, the last first. Namespaces stay: they can hold somebody's work. So does
// what lost the part's label, because somebody created it again.
func (i Inventory) Prune(ctx context.Context, wanted ...Object) (changed bool, err error) {
	others, known, err := i.others(ctx, wanted)
	if err != nil {
		return false, err
	}
	for _, o := range slices.Backward(others) {
		resource, err := i.Client.resource(o)
		if err == nil {
			err = resource.Delete(ctx, o.GetName(), metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)})
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return changed, fmt.Errorf("could not delete %s, which the profile does not have: %w", Name(o), err)
		}
		changed = true
	}
	var entries []entry
	for _, o := range wanted {
		entries = append(entries, i.entry(i.marked(o)))
	}
	return changed, i.write(ctx, known, entries)
}

// others are the remembered objects that exist, are still ours and are not
// wanted.
func (i Inventory) others(ctx context.Context, wanted []Object) (others []*unstructured.Unstructured, known []entry, err error) {
	if known, err = i.read(ctx); err != nil {
		return nil, nil, err
	}
	keep := map[entry]bool{}
	for _, o := range wanted {
		keep[i.entry(i.marked(o))] = true
	}
	for _, e := range known {
		object := e.object()
		if keep[i.entry(object)] || e.Kind == "Namespace" {
			continue
		}
		resource, err := i.Client.resource(object)
		if meta.IsNoMatchError(err) {
			continue // its kind is deleted, and so it is
		}
		if err != nil {
			return nil, nil, err
		}
		have, err := resource.Get(ctx, e.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("could not read %s: %w", Name(object), err)
		}
		if have.GetLabels()[PartLabel] == i.Part && have.GetDeletionTimestamp() == nil {
			others = append(others, have)
		}
	}
	return others, known, nil
}

func (i Inventory) configMap() string { return "devenv-" + i.Part }

func (i Inventory) read(ctx context.Context) ([]entry, error) {
	config, err := i.Client.Core.CoreV1().ConfigMaps(inventoryNamespace).Get(ctx, i.configMap(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("could not read the inventory %s/%s: %w", inventoryNamespace, i.configMap(), err)
	}
	var known []entry
	if err := json.Unmarshal([]byte(config.Data[inventoryKey]), &known); err != nil {
		return nil, fmt.Errorf("could not read the inventory %s/%s, delete it to go on without: %w", inventoryNamespace, i.configMap(), err)
	}
	return known, nil
}

func (i Inventory) write(ctx context.Context, known, entries []entry) error {
	if slices.Equal(known, entries) {
		return nil
	}
	text, err := json.Marshal(entries)
	if err != nil {
		return err
	}
	_, err = i.Client.Apply(ctx, Object{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": Object{"name": i.configMap(), "namespace": inventoryNamespace, "labels": ManagedLabels()},
		"data":     Object{inventoryKey: string(text)},
	})
	return err
}

package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Difference is something that is not as it should be. Its JSON is a contract
// with scripts.
type Difference struct {
	// Object says what it is about, for people: "RoleBinding demo/viewers".
	Object string `json:"object"`
	// Field that differs; empty where all of the object does: it is missing, or
	// should not be there.
	Field string `json:"field,omitempty"`
	// Have and Want are short texts; what is secret is not shown.
	Have string `json:"have"`
	Want string `json:"want"`
}

// What an object is that should be there, or should not.
const (
	Missing = "missing"
	Present = "present"
	// Unwanted is what should become of an object that the profile does not have.
	Unwanted = "deleted, the profile does not have it"
)

// Differences says what Apply would change, by asking the API server to try it.
func (c *Client) Differences(ctx context.Context, objects ...Object) ([]Difference, error) {
	var found []Difference
	for _, o := range objects {
		object := copyOf(o)
		differences, err := c.differencesOf(ctx, object)
		if err != nil {
			return found, fmt.Errorf("could not compare %s: %w", Name(object), err)
		}
		found = append(found, differences...)
	}
	return found, nil
}

func (c *Client) differencesOf(ctx context.Context, o *unstructured.Unstructured) ([]Difference, error) {
	missing := []Difference{{Object: Name(o), Have: Missing, Want: Present}}
	resource, err := c.resource(o)
	if meta.IsNoMatchError(err) { // its kind is missing too
		return missing, nil
	}
	if err != nil {
		return nil, err
	}
	have, err := resource.Get(ctx, o.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return missing, nil
	}
	if err != nil {
		return nil, err
	}
	want, err := resource.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: FieldManager, Force: true, DryRun: []string{metav1.DryRunAll}})
	if apierrors.IsInvalid(err) { // such as a binding's role, which cannot be changed
		return []Difference{{Object: Name(o), Have: "one that cannot become it: " + err.Error(), Want: Present}}, nil
	}
	if err != nil {
		return nil, err
	}
	var found []Difference
	for _, u := range []*unstructured.Unstructured{have, want} {
		u.SetManagedFields(nil)
		u.SetResourceVersion("")
		u.SetGeneration(0)
		delete(u.Object, "status")
	}
	compare("", have.Object, want.Object, func(field string, have, want any) {
		secret := o.GetKind() == "Secret" && strings.HasPrefix(field, "data")
		found = append(found, Difference{Object: Name(o), Field: field, Have: shown(have, secret), Want: shown(want, secret)})
	})
	return found, nil
}

// compare walks two values, as JSON has them, and tells differ of each field
// that is not the same in both: "spec.ports[0].nodePort", nil where there is
// none.
func compare(field string, have, want any, differ func(field string, have, want any)) {
	haveMap, isMap := have.(map[string]any)
	wantMap, areMaps := want.(map[string]any)
	haveList, isList := have.([]any)
	wantList, areLists := want.([]any)
	switch {
	case isMap && areMaps:
		keys := map[string]bool{}
		for key := range haveMap {
			keys[key] = true
		}
		for key := range wantMap {
			keys[key] = true
		}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			compare(strings.TrimPrefix(field+"."+key, "."), haveMap[key], wantMap[key], differ)
		}
	case isList && areLists && len(haveList) == len(wantList):
		for i := range haveList {
			compare(fmt.Sprintf("%s[%d]", field, i), haveList[i], wantList[i], differ)
		}
	case !reflect.DeepEqual(have, want):
		differ(field, have, want)
	}
}

// shownLength is how much of a value fits on a line.
const shownLength = 120

// shown is a value for people, on one line.
func shown(value any, secret bool) string {
	switch {
	case value == nil:
		return Missing
	case secret:
		return "another secret"
	}
	text, is := value.(string)
	if !is {
		encoded, err := json.Marshal(value)
		if err != nil {
			return err.Error()
		}
		text = string(encoded)
	}
	if runes := []rune(text); len(runes) > shownLength {
		text = string(runes[:shownLength]) + "…"
	}
	return strings.ReplaceAll(text, "\n", "⏎")
}

package kube

import (
	"fmt"
	"reflect"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
)

func TestCompare(t *testing.T) {
	have := map[string]any{"a": "1", "b": map[string]any{"c": []any{"x", "y"}, "gone": true}, "same": int64(1)}
	want := map[string]any{"a": "2", "b": map[string]any{"c": []any{"x", "z"}, "new": "n"}, "same": int64(1), "list": []any{"1"}}
	var got []string
	compare("", have, want, func(field string, have, want any) { got = append(got, fmt.Sprint(field, " ", have, " ", want)) })
	if expected := []string{"a 1 2", "b.c[1] y z", "b.gone true <nil>", "b.new <nil> n", "list <nil> [1]"}; !reflect.DeepEqual(got, expected) {
		t.Errorf("%q", got)
	}
}

func TestMarkedObjectsAreCopiesOfAnyGoType(t *testing.T) {
	original := Object{
		"apiVersion": "v1", "kind": "Service", "metadata": Object{"name": "x", "labels": Object{"own": "label"}},
		"spec": Object{"ports": []any{Object{"port": 443}}}, "rules": []rbacv1.PolicyRule{{Verbs: []string{"get"}}},
	}
	marked := Inventory{Part: "profile"}.marked(original)
	if labels := marked.GetLabels(); labels["own"] != "label" || labels[PartLabel] != "profile" {
		t.Errorf("labels %v", labels)
	}
	if labels := original["metadata"].(Object)["labels"].(Object); len(labels) != 1 {
		t.Errorf("the original has the labels %v", labels)
	}
}

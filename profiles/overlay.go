package profiles

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// overlay lays assignments such as "spec.clusters[0].kubernetesVersion=v1.36.1"
// over a JSON document. A value is YAML in its flow style: true, 3, [a, b] and
// {a: b} keep their types, and "oidc:" and "-" are strings.
func overlay(text []byte, assignments []string) ([]byte, []string) {
	if len(assignments) == 0 {
		return text, nil
	}
	var doc any
	if err := json.Unmarshal(text, &doc); err != nil {
		return text, []string{err.Error()}
	}
	var mistakes []string
	for _, a := range assignments {
		path, value, ok := strings.Cut(a, "=")
		if !ok || path == "" {
			mistakes = append(mistakes, fmt.Sprintf("--set %s: write it as path.to.field=value", a))
			continue
		}
		var v any
		if err := yaml.Unmarshal([]byte(value), &v); err != nil {
			mistakes = append(mistakes, fmt.Sprintf("--set %s: the value is not YAML: %v", a, err))
			continue
		}
		switch v.(type) {
		case map[string]any, []any:
			if !strings.HasPrefix(value, "{") && !strings.HasPrefix(value, "[") {
				v = value // YAML's block style, as in "oidc:" or "-", is not meant
			}
		}
		next, err := assign(doc, splitPath(path), v)
		if err != nil {
			mistakes = append(mistakes, fmt.Sprintf("--set %s: %v", a, err))
			continue
		}
		doc = next
	}
	out, err := json.Marshal(doc)
	if err != nil {
		return text, append(mistakes, err.Error())
	}
	return out, mistakes
}

// splitPath turns a.b[0].c into a, b, 0, c.
func splitPath(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
}

func assign(into any, path []string, value any) (any, error) {
	if len(path) == 0 {
		return value, nil
	}
	switch node := into.(type) {
	case []any:
		i, err := strconv.Atoi(path[0])
		if err != nil || i < 0 || i > len(node) {
			return nil, fmt.Errorf("the list has no item %q, it has %d", path[0], len(node))
		}
		if i == len(node) {
			node = append(node, nil)
		}
		next, err := assign(node[i], path[1:], value)
		if err != nil {
			return nil, err
		}
		node[i] = next
		return node, nil
	case map[string]any:
		next, err := assign(node[path[0]], path[1:], value)
		if err != nil {
			return nil, err
		}
		node[path[0]] = next
		return node, nil
	case nil:
		next, err := assign(nil, path[1:], value)
		return map[string]any{path[0]: next}, err
	default:
		return nil, fmt.Errorf("%q is under a value, not an object", path[0])
	}
}

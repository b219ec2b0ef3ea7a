package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// What commands print for programs is what their schemas say.
func TestResultsMatchTheirSchemas(t *testing.T) {
	needPlain(t)
	name := "--name=" + plain
	for schema, command := range map[string][]string{
		"status":   {"status", name},
		"list":     {"list"},
		"check":    {"check", name},
		"doctor":   {"doctor", name},
		"plan":     {"plan", name},
		"profiles": {"profiles", "list"},
		"users":    {"users", "list", name},
		"clients":  {"clients", "list", name},
		"gc":       {"gc", "--dry-run"},
		"error":    {"status", "--name=absent"},
		"up":       {"up", name},
	} {
		t.Run(schema, func(t *testing.T) {
			parsed, err := jsonschema.UnmarshalJSON(strings.NewReader(must(t, "schema", schema).stdout))
			noError(t, err)
			compiler := jsonschema.NewCompiler()
			noError(t, compiler.AddResource("mem:///schema.json", parsed))
			compiled, err := compiler.Compile("mem:///schema.json")
			noError(t, err)
			out := devenv(t, append(command, "--output=json")...).stdout
			results := []string{out}
			if schema == "up" {
				results = strings.Split(strings.TrimSpace(out), "\n")
			}
			for _, result := range results {
				var value any
				noError(t, json.Unmarshal([]byte(result), &value))
				if err := compiled.Validate(value); err != nil {
					t.Errorf("%v\n%s", err, result)
				}
			}
		})
	}
}

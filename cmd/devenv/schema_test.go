package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/invopop/jsonschema"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision"
	"github.com/devenv-oidc/devenv/provision/check"
	"github.com/devenv-oidc/devenv/provision/diagnosis"
	"github.com/devenv-oidc/devenv/provision/progress"
	"github.com/devenv-oidc/devenv/provision/report"
)

var update = flag.Bool("update", false, "write the schemas anew")

// printed is what each command prints with --output json.
var printed = map[string][]any{
	"check":         {&check.Report{}},
	"check-against": {[]report.Comparison{}},
	"clients":       {[]profiles.Client{}},
	"doctor":        {&diagnosis.Report{}},
	"error":         {&ErrorResult{}},
	"expose":        {&provision.EndpointStatus{}},
	"gc":            {[]provision.Collected{}},
	"list":          {[]provision.Listed{}},
	"load":          {[]provision.Loaded{}},
	"plan":          {[]PlannedStep{}},
	"profiles":      {[]profiles.Metadata{}},
	"status":        {&provision.Status{}},
	"up":            {&progress.Event{}, &provision.Status{}, &ErrorResult{}}, // each line one of them
	"users":         {[]profiles.User{}},
}

func TestSchemasAreGeneratedFromTheTypes(t *testing.T) {
	r := &jsonschema.Reflector{Anonymous: true, AllowAdditionalProperties: true, DoNotReference: true}
	t.Chdir("../..") // import paths are made of the folders

	for _, folder := range []string{"profiles", "provision", "provision/check", "provision/diagnosis", "provision/progress", "provision/process", "provision/drift", "provision/report", "cmd/devenv"} {
		if err := r.AddGoComments("github.com/devenv-oidc/devenv", "./"+folder); err != nil {
			t.Fatal(err)
		}
	}
	for name, types := range printed {
		var schema any
		if len(types) == 1 {
			schema = r.Reflect(types[0])
		} else {
			var lines []*jsonschema.Schema
			for _, one := range types {
				lines = append(lines, r.Reflect(one))
			}
			schema = map[string]any{"$schema": jsonschema.Version, "description": "One line of the stream.", "anyOf": lines}
		}
		text, err := json.MarshalIndent(schema, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, '\n')
		file := filepath.Join("cmd", "devenv", "schemas", name+".json")
		if *update {
			if err := os.WriteFile(file, text, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if have, err := os.ReadFile(file); err != nil || !bytes.Equal(have, text) {
			t.Errorf("%s does not match the Go types (%v): go test ./cmd/devenv -run TestSchemas -update", file, err)
		}
	}
	if !*update {
		for _, name := range schemaNames() {
			if printed[name] == nil {
				t.Errorf("nothing is printed as %s", name)
			}
		}
		if !slices.Contains(schemaNames(), "up") {
			t.Error("up has no schema")
		}
	}
}

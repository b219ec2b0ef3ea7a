package profiles

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/invopop/jsonschema"
)

var update = flag.Bool("update", false, "rewrite generated and golden files")

func TestSchemaIsGeneratedFromTheTypes(t *testing.T) {
	r := &jsonschema.Reflector{}
	if err := r.AddGoComments("github.com/devenv-oidc/devenv/profiles", "./"); err != nil {
		t.Fatal(err)
	}
	want, err := json.MarshalIndent(r.Reflect(&Environment{}), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile("schema.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(want, schemaJSON) {
		t.Error("schema.json does not match the Go types: go test ./profiles -run TestSchema -update")
	}
}

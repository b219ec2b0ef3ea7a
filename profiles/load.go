package profiles

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sort"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"sigs.k8s.io/yaml"
)

//go:embed *.yaml
var shipped embed.FS

//go:embed schema.json
var schemaJSON []byte

// UnknownProfileError says that no shipped profile has this name.
type UnknownProfileError struct {
	Name    string
	Nearest string // the shipped name most like it, or ""
}

func (e *UnknownProfileError) Error() string {
	return fmt.Sprintf("there is no profile %q", e.Name)
}

// InvalidError lists everything that is wrong with a profile.
type InvalidError struct {
	Source   string // file or profile name
	Mistakes []string
}

func (e *InvalidError) Error() string {
	noun := "mistakes"
	if len(e.Mistakes) == 1 {
		noun = "mistake"
	}
	return fmt.Sprintf("profile %s has %d %s:\n  %s", e.Source, len(e.Mistakes), noun, strings.Join(e.Mistakes, "\n  "))
}

// Names lists the shipped profiles.
func Names() []string {
	files, err := fs.Glob(shipped, "*.yaml")
	if err != nil {
		panic(err) // the pattern is constant
	}
	var names []string
	for _, f := range files {
		if f != "pins.yaml" {
			names = append(names, strings.TrimSuffix(f, ".yaml"))
		}
	}
	sort.Strings(names)
	return names
}

// Source returns a shipped profile as it is written, or *UnknownProfileError.
func Source(name string) ([]byte, error) {
	for _, n := range Names() {
		if n == name {
			return shipped.ReadFile(name + ".yaml")
		}
	}
	return nil, &UnknownProfileError{Name: name, Nearest: Nearest(name, Names())}
}

// Load returns a shipped profile with its defaults filled in.
func Load(name string, set ...string) (*Environment, error) {
	text, err := Source(name)
	if err != nil {
		return nil, err
	}
	return Parse(name, text, set...)
}

// LoadFile reads a profile from a file.
func LoadFile(path string, set ...string) (*Environment, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("could not read the profile: %w", err)
	}
	return Parse(path, text, set...)
}

// Parse decodes and validates a profile, YAML or JSON, after laying each of
// set over it ("path.to.field=value"). A profile with mistakes gives an
// *InvalidError with all of them.
func Parse(source string, text []byte, set ...string) (*Environment, error) {
	invalid := func(mistakes ...string) error {
		return &InvalidError{Source: source, Mistakes: mistakes}
	}
	asJSON, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, invalid(strings.TrimPrefix(err.Error(), "error converting YAML to JSON: "))
	}
	asJSON, mistakes := overlay(asJSON, set)
	mistakes = append(mistakes, schemaMistakes(asJSON)...)

	var e Environment
	err = json.Unmarshal(asJSON, &e)
	// a wrong type leaves its field empty and the rest decoded: the schema has
	// named it, and what stands elsewhere can still be checked
	if wrongType := new(json.UnmarshalTypeError); err == nil || errors.As(err, &wrongType) {
		e.setDefaults()
		mistakes = append(mistakes, e.mistakes()...)
	}
	if len(mistakes) > 0 {
		return nil, invalid(mistakes...)
	}
	return &e, nil
}

var compiledSchema = sync.OnceValue(func() *jsonschema.Schema {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schemaJSON))
	if err != nil {
		panic(err) // embedded: a test reads it
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("environment.json", doc); err != nil {
		panic(err)
	}
	return c.MustCompile("environment.json")
})

// schemaMistakes checks fields, types and patterns: what Go's decoder would
// report one at a time.
func schemaMistakes(text []byte) []string {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return []string{err.Error()}
	}
	err = compiledSchema().Validate(doc)
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return nil
	}
	var mistakes []string
	var walk func(*jsonschema.ValidationError)
	walk = func(v *jsonschema.ValidationError) {
		for _, cause := range v.Causes {
			walk(cause)
		}
		if len(v.Causes) > 0 {
			return
		}
		path := fieldPath(v.InstanceLocation)
		switch k := v.ErrorKind.(type) {
		case *kind.AdditionalProperties:
			for _, p := range k.Properties {
				mistakes = append(mistakes, unknownField(join(path, p), p, v.SchemaURL))
			}
		case *kind.Required:
			for _, p := range k.Missing {
				mistakes = append(mistakes, join(path, p)+": is missing")
			}
		default:
			mistakes = append(mistakes, path+": "+sentence(v.ErrorKind))
		}
	}
	walk(invalid)
	sort.Strings(mistakes)
	return mistakes
}

// sentence says in words what a value is and should be.
func sentence(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return fmt.Sprintf("is a %s, not a %s", k.Got, strings.Join(k.Want, " or "))
	case *kind.Minimum:
		return fmt.Sprintf("is %s, the least is %s", k.Got.RatString(), k.Want.RatString())
	case *kind.Maximum:
		return fmt.Sprintf("is %s, the most is %s", k.Got.RatString(), k.Want.RatString())
	case *kind.MinItems:
		return fmt.Sprintf("has %d items, the least is %d", k.Got, k.Want)
	case *kind.MinLength:
		return "is empty"
	case *kind.Pattern:
		return fmt.Sprintf("%q does not match %s", k.Got, k.Want)
	case *kind.Enum:
		return fmt.Sprintf("is %v, allowed is %v", k.Got, k.Want)
	}
	return k.LocalizedString(message.NewPrinter(language.English))
}

// unknownField names the field of the same object that was probably meant.
func unknownField(path, name, schemaURL string) string {
	text := path + ": unknown field"
	_, pointer, _ := strings.Cut(schemaURL, "#/$defs/")
	var doc struct {
		Defs map[string]struct {
			Properties map[string]any `json:"properties"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(schemaJSON, &doc); err != nil {
		return text
	}
	var known []string
	for field := range doc.Defs[pointer].Properties {
		known = append(known, field)
	}
	sort.Strings(known)
	if near := Nearest(name, known); near != "" {
		return fmt.Sprintf("%s, did you mean %q?", text, near)
	}
	if len(known) > 0 {
		return fmt.Sprintf("%s, known are: %s", text, strings.Join(known, ", "))
	}
	return text
}

// fieldPath writes a JSON pointer as people write fields: spec.clusters[0].name.
func fieldPath(tokens []string) string {
	path := ""
	for _, t := range tokens {
		if t != "" && strings.Trim(t, "0123456789") == "" {
			path += "[" + t + "]"
		} else {
			path = join(path, t)
		}
	}
	if path == "" {
		return "(top)"
	}
	return path
}

func join(path, field string) string {
	if path == "" || path == "(top)" {
		return field
	}
	return path + "." + field
}

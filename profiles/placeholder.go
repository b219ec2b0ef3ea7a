package profiles

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// A placeholder stands in a profile for what only the running environment
// knows: ${NAME}, or ${NAME|base64} for it in base64, which may stand several
// times. $${ is ${ itself.
var placeholder = regexp.MustCompile(`\$?\$\{[^}]*\}`)

// Placeholder is one that a profile may use.
type Placeholder struct {
	Name string
	// Is says what takes its place.
	Is string
}

// Placeholders lists those that the profile may use. Beside them there is
// ${random.NAME} for any name.
func (e *Environment) Placeholders() []Placeholder {
	list := []Placeholder{
		{"environment", "the environment's name"},
		{"issuer", "the issuer's URL"},
		{"issuer.host", "the issuer's name, without its port"},
		{"ca", "the certificate of the environment's CA, PEM"},
	}
	for _, c := range e.Spec.Clusters {
		list = append(list,
			Placeholder{"clusters." + c.Name + ".server", "the URL by which other clusters reach the API server of " + c.Name},
			Placeholder{"clusters." + c.Name + ".host", "the same without its scheme and port"},
			Placeholder{"clusters." + c.Name + ".ca", "the certificate that the API server of " + c.Name + " verifies with, PEM"})
	}
	for _, c := range e.Spec.Clients() {
		if !c.Public {
			list = append(list, Placeholder{"clients." + c.ID + ".secret", "the secret of the client " + c.ID})
		}
	}
	for _, x := range e.Spec.Endpoints {
		list = append(list,
			Placeholder{"endpoints." + x.Name + ".host", "the host name of the endpoint " + x.Name},
			Placeholder{"endpoints." + x.Name + ".url", "the URL of the endpoint " + x.Name})
	}
	for _, name := range slices.Sorted(maps.Keys(Pinned().Images)) {
		list = append(list, Placeholder{"images." + name, "the image that is pinned as " + name})
	}
	return list
}

// randomPlaceholder is what random keys start with.
const randomPlaceholder = "random."

// RandomPlaceholder says whether a placeholder is ${random.NAME}: 32 random
// bytes in base64, made once for an environment and stored.
func RandomPlaceholder(name string) bool {
	return strings.HasPrefix(name, randomPlaceholder) && len(name) > len(randomPlaceholder)
}

// StandIn is in the place of a placeholder where a part of a profile is tried
// before its value is known: a URL for one, and nothing for a certificate.
func StandIn(name string) (string, error) {
	switch {
	case name == "ca" || strings.HasSuffix(name, ".ca"):
		return "", nil
	case name == "issuer" || strings.HasSuffix(name, ".url") || strings.HasSuffix(name, ".server"):
		return "https://stand-in.localhost", nil
	}
	return "stand-in", nil
}

// UsedPlaceholders are the names of the placeholders in a part of a profile,
// each once and in order.
func UsedPlaceholders(part any) []string {
	text, err := json.Marshal(part)
	if err != nil {
		return nil
	}
	used := map[string]bool{}
	_, _ = Fill(string(text), func(name string) (string, error) { used[name] = true; return "", nil })
	return slices.Sorted(maps.Keys(used))
}

// Filled are the placeholders that the profile has, with what takes their place.
func (e *Environment) Filled() []Placeholder {
	known := map[string]string{}
	for _, p := range e.Placeholders() {
		known[p.Name] = p.Is
	}
	var list []Placeholder
	for _, name := range UsedPlaceholders(e.Spec) {
		is := known[name]
		if RandomPlaceholder(name) {
			is = "32 random bytes in base64, made once"
		}
		if is != "" {
			list = append(list, Placeholder{name, is})
		}
	}
	return list
}

// Fill puts values in the places of placeholders.
func Fill(text string, value func(name string) (string, error)) (string, error) {
	var failed error
	filled := placeholder.ReplaceAllStringFunc(text, func(found string) string {
		if strings.HasPrefix(found, "$$") {
			return found[1:]
		}
		name, filters, _ := strings.Cut(found[2:len(found)-1], "|")
		got, err := value(name)
		if err != nil {
			failed = errors.Join(failed, err)
			return found
		}
		for filters != "" {
			var filter string
			filter, filters, _ = strings.Cut(filters, "|")
			if filter != "base64" {
				failed = errors.Join(failed, fmt.Errorf("%s has %q, and all there is is base64", found, filter))
				return found
			}
			got = base64.StdEncoding.EncodeToString([]byte(got))
		}
		return got
	})
	return filled, failed
}

// FillAll is Fill for every string in a part of a profile; it returns another
// one.
func FillAll[T any](part T, value func(name string) (string, error)) (T, error) {
	var filled T
	text, err := json.Marshal(part)
	if err != nil {
		return filled, err
	}
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		return filled, err
	}
	if tree, err = fillTree(tree, value); err != nil {
		return filled, err
	}
	if text, err = json.Marshal(tree); err != nil {
		return filled, err
	}
	return filled, json.Unmarshal(text, &filled)
}

// fillTree goes on after what it cannot fill, so that all of it is reported.
func fillTree(tree any, value func(name string) (string, error)) (any, error) {
	var failed error
	switch t := tree.(type) {
	case string:
		return Fill(t, value)
	case []any:
		for i := range t {
			filled, err := fillTree(t[i], value)
			t[i], failed = filled, errors.Join(failed, err)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(t)) {
			filled, err := fillTree(t[key], value)
			t[key], failed = filled, errors.Join(failed, err)
		}
	}
	return tree, failed
}

// placeholders reports those that do not exist.
func (m *report) placeholders(e *Environment, path string, part any) {
	var known []string
	for _, p := range e.Placeholders() {
		known = append(known, p.Name)
	}
	_, err := FillAll(part, func(name string) (string, error) {
		if !slices.Contains(known, name) && !RandomPlaceholder(name) {
			m.add(path, "there is no placeholder ${%s}%s", name, didYouMean(name, known))
		}
		return "", nil
	})
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			m.add(path, "%s", strings.TrimSuffix(line, "\n"))
		}
	}
}

package profiles

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Connector is another provider in which people log in to Dex
// (https://dexidp.io/docs/connectors/).
type Connector struct {
	// Type is Dex's name of it: oidc, ldap, github …
	Type string `json:"type" jsonschema:"minLength=1"`
	// ID within Dex.
	ID string `json:"id" jsonschema:"pattern=^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"`
	// Name on the login page; the id when empty.
	Name string `json:"name,omitempty"`
	// Config is Dex's own for that type; its strings may have placeholders. The
	// provider must know ${issuer}/callback as a redirect URI.
	Config map[string]any `json:"config,omitempty"`
	// Users are people whom that provider knows, with what they type there and
	// the groups that it gives them: expectations may name them, and the check
	// logs them in.
	Users []User `json:"users,omitempty"`
}

// People are all who can log in: the provider's users, and those of Dex's
// connectors.
func (e *Environment) People() []User {
	people := slices.Clone(e.Spec.Users())
	for _, c := range e.Spec.Dex.Connectors {
		people = append(people, c.Users...)
	}
	return people
}

// Person is one of People by e-mail, with the connector by which they log in:
// nil for one of Spec.Users. Both are nil where nobody has that e-mail.
func (e *Environment) Person(email string) (*User, *Connector) {
	if u := e.User(email); u != nil {
		return u, nil
	}
	for i := range e.Spec.Dex.Connectors {
		c := &e.Spec.Dex.Connectors[i]
		for j := range c.Users {
			if c.Users[j].Email == email {
				return &c.Users[j], c
			}
		}
	}
	return nil, nil
}

// connectors finds mistakes in connectors; emails are those of Dex's own users,
// in small letters.
func (m *report) connectors(e *Environment, emails map[string]bool) {
	ids := map[string]bool{"local": true} // Dex's own database
	for i, c := range e.Spec.Dex.Connectors {
		path := fmt.Sprintf("spec.dex.connectors[%d]", i)
		if ids[c.ID] {
			m.add(path+".id", "%q stands there twice, or is Dex's own database", c.ID)
		}
		ids[c.ID] = true
		m.placeholders(e, path+".config", c.Config)
		m.users(path+".users", c.Users, emails)
		for j, u := range c.Users {
			if u.Token != nil {
				m.add(fmt.Sprintf("%s.users[%d].token", path, j), "is for users of spec.issuer")
			}
			if u.Password == "" && !strings.HasPrefix(c.Type, "mock") {
				m.add(fmt.Sprintf("%s.users[%d].password", path, j), "is missing: only that provider knows it")
			}
		}
	}
	if config, _ := e.Spec.Dex.Values["config"].(map[string]any); config["connectors"] != nil && len(e.Spec.Dex.Connectors) > 0 {
		m.add("spec.dex.values.config.connectors", "would replace spec.dex.connectors; put all of them there")
	}
	for _, name := range slices.Sorted(maps.Keys(e.Spec.Dex.Values)) {
		m.placeholders(e, "spec.dex.values."+name, e.Spec.Dex.Values[name])
	}
}

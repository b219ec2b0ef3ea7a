package profiles

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"reflect"
	"strings"
)

// Issuer is an OpenID Connect provider that somebody else runs, in the place of
// Dex: a Keycloak, a company's own. Nothing is created in it: its clients and
// users are there already. This host and the API servers must reach it.
type Issuer struct {
	// URL as the provider's tokens and its discovery document have it.
	URL string `json:"url" jsonschema:"pattern=^https://[^?#\\s]+$"`
	// CA that its certificate must verify with, PEM; those that each machine trusts
	// anyway when empty.
	CA string `json:"ca,omitempty"`
	// CAFile to read the CA from at `devenv up`, in the place of ca.
	CAFile string `json:"caFile,omitempty"`
	// Clients that the provider has, with their secrets.
	Clients []Client `json:"clients" jsonschema:"minItems=1"`
	// Users whom the provider knows, with the groups that it gives them. Each has a
	// password, for the password grant, or says in token where a token comes from.
	Users []User `json:"users" jsonschema:"minItems=1"`
}

// TokenSource is where ID tokens of a user come from that devenv cannot ask for.
type TokenSource struct {
	// Command that prints one, with its arguments; it is run on this host, without
	// a shell.
	Command []string `json:"command,omitempty"`
	// File that holds one. It is read for each login.
	File string `json:"file,omitempty"`
}

// Users of the provider: those of Dex's own database, or those that an external
// issuer is said to know.
func (s *Spec) Users() []User {
	if s.Issuer != nil {
		return s.Issuer.Users
	}
	return s.Dex.Users
}

// Clients of the provider.
func (s *Spec) Clients() []Client {
	if s.Issuer != nil {
		return s.Issuer.Clients
	}
	return s.Dex.Clients
}

// provider is the path of the provider in a profile.
func (s *Spec) provider() string {
	if s.Issuer != nil {
		return "spec.issuer"
	}
	return "spec.dex"
}

// issuer finds mistakes in the choice of a provider, and in an external one.
func (m *report) issuer(e *Environment) {
	x := e.Spec.Issuer
	if x == nil {
		if reflect.ValueOf(e.Spec.Dex.Clients).IsNil() && reflect.ValueOf(e.Spec.Dex.Users).IsNil() && e.Spec.Dex.Port == 0 {
			m.add("spec.dex", "is missing; without Dex, name another provider in spec.issuer")
		}
		return
	}
	if !reflect.ValueOf(e.Spec.Dex).IsZero() {
		m.add("spec.dex", "stands beside spec.issuer, which takes its place; leave one of them out")
	}
	if u, err := url.Parse(x.URL); err != nil || u.Hostname() == "" {
		m.add("spec.issuer.url", "%q names no host", x.URL)
	}
	switch {
	case x.CA != "" && x.CAFile != "":
		m.add("spec.issuer.caFile", "stands beside ca; leave one of them out")
	case x.CA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(x.CA)):
		m.add("spec.issuer.ca", "holds no certificate in PEM")
	}
	m.clients(e, "spec.issuer.clients", x.Clients)
	emails := map[string]bool{}
	m.users("spec.issuer.users", x.Users, emails)
	for i, u := range x.Users {
		path := fmt.Sprintf("spec.issuer.users[%d]", i)
		switch t := u.Token; {
		case t == nil && u.Password == "":
			m.add(path, "has neither a password nor a token, so that %s could not log in", u.Email)
		case t == nil:
		case u.Password != "":
			m.add(path+".token", "stands beside a password; leave one of them out")
		case (len(t.Command) == 0) == (t.File == ""):
			m.add(path+".token", "has either a command or a file")
		case t.File == "" && strings.TrimSpace(t.Command[0]) == "":
			m.add(path+".token.command", "names no program")
		}
	}
	for path, there := range map[string]bool{"spec.share": e.Spec.Share != nil, "spec.serviceBindings": len(e.Spec.ServiceBindings) > 0} {
		if there {
			m.add(path, "needs Dex, in whose place spec.issuer stands")
		}
	}
	for i, p := range e.Spec.Probes {
		if p.Token != nil {
			m.add(fmt.Sprintf("spec.probes[%d].token", i), "needs Dex, in whose place spec.issuer stands")
		}
	}
}

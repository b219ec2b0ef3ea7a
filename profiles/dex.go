package profiles

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Dex configures the provider.
type Dex struct {
	// Version of Dex by its pin; that of the pinned chart when empty.
	Version string `json:"version,omitempty"`
	// Port of the issuer, the same on the host's loopback, on the node and in
	// the cluster; one that is free when 0.
	Port int `json:"port,omitempty" jsonschema:"minimum=30000,maximum=32767"`
	// IDTokenLifetime as a Go duration; "1h" when empty.
	IDTokenLifetime string `json:"idTokenLifetime,omitempty"`
	// Connectors are other providers in which people log in.
	Connectors []Connector `json:"connectors,omitempty"`
	// Values are laid over devenv's own chart values; their strings may have
	// placeholders. Without pods only the value "config" counts, Dex's own
	// configuration.
	Values map[string]any `json:"values,omitempty"`
	// Clients of the provider.
	Clients []Client `json:"clients" jsonschema:"minItems=1"`
	// Users with a password in Dex's own database.
	Users []User `json:"users" jsonschema:"minItems=1"`
}

// Client is an OAuth 2.0 client.
type Client struct {
	// ID of the client, the audience of its tokens.
	ID string `json:"id" jsonschema:"minLength=1"`
	// Name shown on the approval page; the id when empty.
	Name string `json:"name,omitempty"`
	// Public clients have no secret.
	Public bool `json:"public,omitempty"`
	// Secret of a confidential client; random per environment when empty.
	Secret string `json:"secret,omitempty"`
	// RedirectURIs that the authorization code flow may return to; one with a
	// port on localhost for the grant browser, "/device/callback" for device.
	RedirectURIs []string `json:"redirectURIs,omitempty"`
	// TrustedPeers are clients that may ask for tokens with this one's audience.
	TrustedPeers []string `json:"trustedPeers,omitempty"`
	// Grants that the client is meant for; that it can be used for them is
	// checked beforehand.
	Grants []string `json:"grants,omitempty" jsonschema:"enum=password,enum=browser,enum=device,enum=client-credentials"`
}

// User is a person with a password.
type User struct {
	// Email is the login, and by itself the user's identity in Dex.
	Email string `json:"email" jsonschema:"pattern=^[^@\\s]+@[^@\\s]+$"`
	// Username is the display name; the part before the @ when empty.
	Username string `json:"username,omitempty"`
	// Groups for the groups claim.
	Groups []string `json:"groups,omitempty"`
	// Password; random per environment when empty.
	Password string `json:"password,omitempty"`
	// EmailVerified is the claim email_verified; true when absent.
	EmailVerified *bool `json:"emailVerified,omitempty"`
	// Token says where a token comes from, for a user of an external issuer
	// without a password.
	Token *TokenSource `json:"token,omitempty"`
}

// deviceCallback is the one redirect URI that is relative: Dex's own, of the
// device grant.
const deviceCallback = "/device/callback"

func (m *report) dex(e *Environment) {
	if e.Spec.Issuer != nil {
		return
	}
	if d, err := time.ParseDuration(e.Spec.Dex.IDTokenLifetime); err != nil || d < time.Minute {
		m.add("spec.dex.idTokenLifetime", "%q is not a duration of at least 1m, such as 30m or 8h", e.Spec.Dex.IDTokenLifetime)
	}
	if v := e.Spec.Dex.Version; v != "" && !Pinned().knowsDex(v) {
		m.add("spec.dex.version", "no Dex %q is pinned; there are: %s", v, strings.Join(slices.Sorted(maps.Keys(Pinned().Dex)), ", "))
	}
	m.clients(e, "spec.dex.clients", e.Spec.Dex.Clients)
	emails := map[string]bool{}
	m.users("spec.dex.users", e.Spec.Dex.Users, emails)
	for i, u := range e.Spec.Dex.Users {
		path := fmt.Sprintf("spec.dex.users[%d]", i)
		if len(u.Password) > 72 {
			m.add(path+".password", "is longer than bcrypt's 72 bytes")
		}
		if u.Token != nil {
			m.add(path+".token", "is for users of spec.issuer; Dex's have a password")
		}
	}
	m.connectors(e, emails)
}

// clients finds mistakes in the clients at a path.
func (m *report) clients(e *Environment, list string, clients []Client) {
	ids := map[string]bool{}
	for i, c := range clients {
		path := fmt.Sprintf("%s[%d]", list, i)
		if ids[c.ID] {
			m.add(path+".id", "%q stands there twice", c.ID)
		}
		ids[c.ID] = true
		if c.Public && c.Secret != "" {
			m.add(path+".secret", "a public client has none")
		}
		for j, uri := range c.RedirectURIs {
			m.placeholders(e, fmt.Sprintf("%s.redirectURIs[%d]", path, j), uri)
			known, _ := Fill(uri, func(string) (string, error) { return "https://x.localhost", nil })
			if u, err := url.Parse(known); uri != deviceCallback && (err != nil || u.Scheme == "") {
				m.add(fmt.Sprintf("%s.redirectURIs[%d]", path, j), "%q is not an absolute URI", uri)
			}
		}
		for j, g := range c.Grants {
			m.grant(e, fmt.Sprintf("%s.grants[%d]", path, j), c, g)
		}
		for j, peer := range c.TrustedPeers {
			if e.Client(peer) == nil {
				m.add(fmt.Sprintf("%s.trustedPeers[%d]", path, j), "there is no client %q", peer)
			}
		}
	}
}

// users finds users at a path who are there twice; emails are all so far, in
// small letters.
func (m *report) users(list string, users []User, emails map[string]bool) {
	for i, u := range users {
		key := strings.ToLower(u.Email) // Dex stores them so
		if emails[key] {
			m.add(fmt.Sprintf("%s[%d].email", list, i), "%q stands there twice", u.Email)
		}
		emails[key] = true
	}
}

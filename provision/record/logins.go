package record

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"slices"
	"strings"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/failure"
)

// KeepLogins adds the users and clients of an earlier record that the profile
// does not have: their passwords and secrets are nowhere else.
func (r *Record) KeepLogins(old *Record) {
	dex := &r.Profile.Spec.Dex
	for _, u := range old.Profile.Spec.Dex.Users {
		if r.Profile.User(u.Email) == nil {
			dex.Users = append(dex.Users, u)
		}
	}
	for _, c := range old.Profile.Spec.Dex.Clients {
		if r.Profile.Client(c.ID) == nil {
			dex.Clients = append(dex.Clients, c)
		}
	}
}

// Logins are the users and clients of an environment, to be changed while it
// runs. Errors are of class Usage.
type Logins struct{ spec *profiles.Spec }

// WithLogins returns a copy of the record that edit has changed; the result is a
// valid profile.
func (r *Record) WithLogins(edit func(Logins) error) (*Record, error) {
	changed := *r
	spec := &changed.Profile.Spec
	spec.Dex.Users, spec.Dex.Clients = slices.Clone(spec.Dex.Users), slices.Clone(spec.Dex.Clients)
	spec.Expectations = slices.Clone(spec.Expectations)
	if err := edit(Logins{spec}); err != nil {
		return nil, err
	}
	text, err := json.Marshal(changed.Profile)
	if err != nil {
		return nil, err
	}
	valid, err := profiles.Parse("the environment with this change", text)
	if err != nil {
		return nil, failure.New(failure.Usage, err)
	}
	changed.Profile = *valid
	return &changed, nil
}

// AddUser adds a user, with a random password where they have none.
func (l Logins) AddUser(u profiles.User) error {
	if l.user(u.Email) >= 0 {
		return failure.Newf(failure.Usage, "there is already a user %q", u.Email)
	}
	u.Password = cmp.Or(u.Password, rand.Text())
	l.spec.Dex.Users = append(l.spec.Dex.Users, u)
	return nil
}

// RemoveUser removes a user, and what the profile expects of them.
func (l Logins) RemoveUser(email string) error {
	i := l.user(email)
	if i < 0 {
		return l.noUser(email)
	}
	email = l.spec.Dex.Users[i].Email
	l.spec.Dex.Users = slices.Delete(l.spec.Dex.Users, i, i+1)
	l.spec.Expectations = slices.DeleteFunc(l.spec.Expectations, func(x profiles.Expectation) bool { return x.User == email })
	return nil
}

// SetPassword gives a user another password: this one, or a random one where it
// is empty.
func (l Logins) SetPassword(email, password string) error {
	i := l.user(email)
	if i < 0 {
		return l.noUser(email)
	}
	l.spec.Dex.Users[i].Password = cmp.Or(password, rand.Text())
	return nil
}

// AddClient adds a client, with a random secret where it needs one and has none.
func (l Logins) AddClient(c profiles.Client) error {
	if l.client(c.ID) >= 0 {
		return failure.Newf(failure.Usage, "there is already a client %q", c.ID)
	}
	if !c.Public {
		c.Secret = cmp.Or(c.Secret, rand.Text())
	}
	l.spec.Dex.Clients = append(l.spec.Dex.Clients, c)
	return nil
}

// RemoveClient removes a client.
func (l Logins) RemoveClient(id string) error {
	i := l.client(id)
	if i < 0 {
		return l.noClient(id)
	}
	l.spec.Dex.Clients = slices.Delete(l.spec.Dex.Clients, i, i+1)
	return nil
}

// SetSecret gives a client another secret: this one, or a random one where it is
// empty.
func (l Logins) SetSecret(id, secret string) error {
	i := l.client(id)
	if i < 0 {
		return l.noClient(id)
	}
	if l.spec.Dex.Clients[i].Public {
		return failure.Newf(failure.Usage, "the client %q is public and has no secret", id)
	}
	l.spec.Dex.Clients[i].Secret = cmp.Or(secret, rand.Text())
	return nil
}

// user is the index of a user; -1 where there is none.
func (l Logins) user(email string) int {
	return slices.IndexFunc(l.spec.Dex.Users, func(u profiles.User) bool { return strings.EqualFold(u.Email, email) })
}

func (l Logins) client(id string) int {
	return slices.IndexFunc(l.spec.Dex.Clients, func(c profiles.Client) bool { return c.ID == id })
}

func (l Logins) noUser(email string) error {
	var names []string
	for _, u := range l.spec.Dex.Users {
		names = append(names, u.Email)
	}
	return unknown("user", email, names)
}

func (l Logins) noClient(id string) error {
	var names []string
	for _, c := range l.spec.Dex.Clients {
		names = append(names, c.ID)
	}
	return unknown("client", id, names)
}

func unknown(what, name string, names []string) error {
	err := failure.Newf(failure.Usage, "there is no %s %q", what, name)
	if near := profiles.Nearest(name, names); near != "" {
		return err.Hint("did you mean %s?", near)
	}
	return err.Hint("there are: %s", strings.Join(names, ", "))
}

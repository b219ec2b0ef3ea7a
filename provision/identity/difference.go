package identity

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/kube"
)

// Differences says in which users and clients Dex is not as given, by its stored
// objects; with prune also whom it has too many. Passwords and secrets are not
// shown, and passwords not compared: each costs a tenth of a second, and a login
// says it, too.
func Differences(ctx context.Context, client *kube.Client, users []profiles.User, clients []profiles.Client, prune bool) ([]kube.Difference, error) {
	a := &Admin{kube: client}
	storedUsers, err := a.storedPasswords(ctx)
	if err != nil {
		return nil, err
	}
	storedClients, err := a.storedClients(ctx)
	if err != nil {
		return nil, err
	}
	var found []kube.Difference
	for _, u := range users {
		key := strings.ToLower(u.Email)
		found = append(found, userDifferences(u, storedUsers[key])...)
		delete(storedUsers, key)
	}
	for _, c := range clients {
		found = append(found, clientDifferences(c, storedClients[c.ID])...)
		delete(storedClients, c.ID)
	}
	if prune {
		found = append(append(found, unwanted("user ", storedUsers)...), unwanted("client ", storedClients)...)
	}
	return found, nil
}

// unwanted are those of devenv's own that are left over.
func unwanted(what string, left map[string]*unstructured.Unstructured) []kube.Difference {
	var found []kube.Difference
	for _, name := range slices.Sorted(maps.Keys(left)) {
		if ours(left[name]) {
			found = append(found, kube.Difference{Object: what + name, Have: kube.Present, Want: kube.Unwanted})
		}
	}
	return found
}

func userDifferences(want profiles.User, stored *unstructured.Unstructured) []kube.Difference {
	d := differences{object: "user " + want.Email}
	if stored == nil {
		return d.missing()
	}
	groups, _, _ := unstructured.NestedStringSlice(stored.Object, "groups")
	username, _, _ := unstructured.NestedString(stored.Object, "username")
	d.compare("groups", strings.Join(groups, ", "), strings.Join(want.Groups, ", "))
	d.compare("username", username, want.Username)
	d.compare("emailVerified", fmt.Sprint(emailVerified(stored)), fmt.Sprint(*want.EmailVerified))
	return d.found
}

func clientDifferences(want profiles.Client, stored *unstructured.Unstructured) []kube.Difference {
	d := differences{object: "client " + want.ID}
	if stored == nil {
		return d.missing()
	}
	text := func(field string) string {
		value, _, _ := unstructured.NestedString(stored.Object, field)
		return value
	}
	list := func(field string) []string {
		value, _, _ := unstructured.NestedStringSlice(stored.Object, field)
		return value
	}
	public, _, _ := unstructured.NestedBool(stored.Object, "public")
	d.compare("name", text("name"), want.Name)
	d.compare("public", fmt.Sprint(public), fmt.Sprint(want.Public))
	if text("secret") != want.Secret {
		d.compare("secret", "another one", "the environment's")
	}
	d.compare("redirectURIs", strings.Join(list("redirectURIs"), ", "), strings.Join(want.RedirectURIs, ", "))
	d.compare("trustedPeers", strings.Join(list("trustedPeers"), ", "), strings.Join(want.TrustedPeers, ", "))
	return d.found
}

// differences gathers those of one object.
type differences struct {
	object string
	found  []kube.Difference
}

func (d *differences) missing() []kube.Difference {
	return []kube.Difference{{Object: d.object, Have: kube.Missing, Want: kube.Present}}
}

func (d *differences) compare(field, have, want string) {
	if have != want {
		d.found = append(d.found, kube.Difference{Object: d.object, Field: field, Have: have, Want: want})
	}
}

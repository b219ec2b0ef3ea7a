package report

import (
	"testing"

	"github.com/devenv-oidc/devenv/profiles"
)

func TestSecretFields(t *testing.T) {
	connectors := []profiles.Connector{{Type: "ldap", ID: "a", Config: map[string]any{
		"host": "ldap.example.com", "bindDN": "cn=admin", "bindPW": "hush", "clientID": "id", "clientSecret": "quiet",
		"userSearch": map[string]any{"username": "mail"}, "hosts": []any{map[string]any{"rootPassword": "deep", "name": "x"}},
	}, Users: []profiles.User{{Email: "a@b.c", Password: "typed"}}}}
	var found []string
	hidden := eachSecretField(connectors, func(value string) string { found = append(found, value); return "-" })[0]
	inner := hidden.Config["hosts"].([]any)[0].(map[string]any)
	if hidden.Config["bindPW"] != "-" || hidden.Config["clientSecret"] != "-" || inner["rootPassword"] != "-" || hidden.Users[0].Password != "-" || len(found) != 4 {
		t.Errorf("%+v, found %v", hidden, found)
	}
	if hidden.Config["host"] != "ldap.example.com" || hidden.Config["clientID"] != "id" || hidden.Users[0].Email != "a@b.c" || inner["name"] != "x" {
		t.Errorf("%+v", hidden)
	}
	if connectors[0].Config["bindPW"] != "hush" {
		t.Error("the profile itself was changed")
	}
}

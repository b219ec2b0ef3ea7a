package profiles

import (
	"errors"
	"strings"
	"testing"
)

const external = `
apiVersion: devenv.dev/v1alpha1
kind: Environment
metadata: {name: external}
spec:
  clusters:
  - name: main
    trust: {flags: {clientID: kubernetes, usernameClaim: email}}
  issuer:
    url: https://id.example.com/realms/demo
    clients: [{id: kubernetes, secret: hush}]
    users: [{email: a@example.com, password: x}, {email: b@example.com, token: {file: b.jwt}}]
  expectations: [{user: b@example.com, cannot: [list pods]}]
`

func TestExternalIssuer(t *testing.T) {
	e, err := Parse("external", []byte(external))
	if err != nil {
		t.Fatal(err)
	}
	if u, connector := e.Person("b@example.com"); u == nil || connector != nil || !*u.EmailVerified || e.Client("kubernetes").Secret != "hush" || len(e.People()) != 2 {
		t.Errorf("%+v", e.Spec.Issuer)
	}
	for set, want := range map[string]string{
		"spec.dex.port=30001":                   "spec.dex: stands beside spec.issuer",
		"spec.issuer.url=http://id.example.com": "spec.issuer.url: ",
		"spec.issuer.url=https://:443/x":        "spec.issuer.url: ",
		"spec.issuer.ca=no certificate":         "spec.issuer.ca: holds no certificate in PEM",
		"spec.issuer={url: https://x, clients: [{id: kubernetes}], users: [{email: a@b, password: x}], ca: a, caFile: b}": "spec.issuer.caFile: stands beside ca",
		"spec.issuer.users[0].password=":                                                     "spec.issuer.users[0]: has neither a password nor a token",
		"spec.issuer.users[0].token={file: x}":                                               "spec.issuer.users[0].token: stands beside a password",
		"spec.issuer.users[1].token={}":                                                      "spec.issuer.users[1].token: has either a command or a file",
		"spec.issuer.users[1].token.command=[x]":                                             "spec.issuer.users[1].token: has either a command or a file",
		"spec.issuer.users[1].token={command: [' ']}":                                        "spec.issuer.users[1].token.command: names no program",
		"spec.issuer.users[1].email=A@example.com":                                           `spec.issuer.users[1].email: "A@example.com" stands there twice`,
		"spec.issuer.clients[1]={id: kubernetes}":                                            `spec.issuer.clients[1].id: "kubernetes" stands there twice`,
		"spec.clusters[0].trust.flags.clientID=x":                                            `there is no client "x" in spec.issuer.clients, they are: kubernetes`,
		"spec.expectations[0].user=bb@example.com":                                           `there is no user "bb@example.com" in spec.issuer.users`,
		"spec.share={client: kubernetes}":                                                    "spec.share: needs Dex",
		"spec.probes=[{name: x, from: main, url: 'https://x', token: {client: kubernetes}}]": "spec.probes[0].token: needs Dex",
	} {
		_, err := Parse("external", []byte(external), set)
		var invalid *InvalidError
		if !errors.As(err, &invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("--set %s: %v\nwant %q", set, err, want)
		}
	}
	neither := external[:strings.Index(external, "  issuer:")]
	if _, err := Parse("neither", []byte(neither)); err == nil || !strings.Contains(err.Error(), "spec.dex: is missing; without Dex, name another provider in spec.issuer") {
		t.Errorf("neither: %v", err)
	}
}

package proofs

import (
	"strings"
	"testing"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/record"
)

func TestOneOfEachClassIsLoggedIn(t *testing.T) {
	for name, c := range map[string]struct {
		set     []string
		options Options
		want    string
	}{
		"who is named, whatever the class": {want: "admin dev viewer guest"},
		"one of a class that nobody named": {
			set:  []string{"spec.dex.users[4]={email: a@example.com, groups: [ops, web]}", "spec.dex.users[5]={email: b@example.com, groups: [web, ops]}"},
			want: "admin dev viewer guest a",
		},
		"none of a class of which one is named": {set: []string{"spec.dex.users[4]={email: a@example.com, groups: [developers]}"}, want: "admin dev viewer guest"},
		"those not verified by themselves":      {set: []string{"spec.dex.users[4]={email: a@example.com, groups: [developers], emailVerified: false}"}, want: "admin dev viewer guest a"},
		"all who are asked for": {
			set: []string{"spec.dex.users[4]={email: a@example.com, groups: [developers]}"}, options: Options{AllUsers: true}, want: "admin dev viewer guest a",
		},
		"all where CEL can look at names": {
			set: []string{
				"spec.dex.users[4]={email: a@example.com, groups: [developers]}",
				`spec.clusters[0].trust={configuration: {jwt: [{issuer: {audiences: [kubernetes]}, claimMappings: {username: {expression: "claims.email"}}}]}}`,
			},
			want: "admin dev viewer guest a",
		},
	} {
		profile, err := profiles.Load("default", c.set...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s := &suite{environment.New("", &record.Record{Profile: *profile}, record.Runtime{}), nil, c.options}
		chosen := s.people(s.First())
		var emails []string
		for _, u := range chosen {
			emails = append(emails, strings.TrimSuffix(u.Email, "@example.com"))
		}
		if got := strings.Join(emails, " "); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		if others := s.byClass(s.First(), chosen); (len(others) == 1) != (len(chosen) < len(profile.People())) {
			t.Errorf("%s: %v", name, others)
		}
	}
}

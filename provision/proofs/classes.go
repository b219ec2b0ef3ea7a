package proofs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/check"
)

// Options of a check.
type Options struct {
	// AllUsers logs every user in, and not only one of each class.
	AllUsers bool
}

// people are those of the profile who are logged in for a cluster: all that an
// expectation names, and of those that an API server can tell apart by nothing but
// their names, one.
func (s *suite) people(c profiles.Cluster) []profiles.User {
	all := s.Record.Profile.People()
	if s.options.AllUsers || byExpressions(c.Trust) {
		return all
	}
	named := map[string]bool{}
	for _, x := range s.Spec().Expectations {
		named[x.User] = named[x.User] || x.Cluster == c.Name
	}
	classes, seen := s.classes(), map[string]bool{}
	for i, u := range all {
		if named[u.Email] {
			seen[classes[i]] = true
		}
	}
	var chosen []profiles.User
	for i, u := range all {
		if named[u.Email] || !seen[classes[i]] {
			chosen, seen[classes[i]] = append(chosen, u), true
		}
	}
	return chosen
}

// classes are what tells users from others, but for their names: groups, whether
// the e-mail is verified, and where a login comes from. They are in the order of
// profiles.Environment.People.
func (s *suite) classes() []string {
	var classes []string
	add := func(origin string, users []profiles.User) {
		for _, u := range users {
			from := origin
			if u.Token != nil {
				from = fmt.Sprintf("token %q %q", u.Token.Command, u.Token.File)
			}
			classes = append(classes, fmt.Sprintf("%q %v %s", slices.Sorted(slices.Values(u.Groups)), *u.EmailVerified, from))
		}
	}
	add("password", s.Spec().Users())
	for _, c := range s.Spec().Dex.Connectors {
		add("connector "+c.ID, c.Users)
	}
	return classes
}

// byExpressions says whether a cluster decides by CEL, which can look at
// anything.
func byExpressions(t profiles.Trust) bool {
	if t.Configuration == nil {
		return false
	}
	return slices.ContainsFunc(t.Configuration.JWT, func(a profiles.JWTAuthenticator) bool {
		groups := a.ClaimMappings.Groups
		return a.ClaimMappings.Username.Expression != "" || groups != nil && groups.Expression != "" ||
			len(a.ClaimValidationRules)+len(a.UserValidationRules)+len(a.ClaimMappings.Extra) > 0
	})
}

// byClass says for whom others stand; nothing where everybody was logged in.
func (s *suite) byClass(c profiles.Cluster, chosen []profiles.User) []check.Result {
	all := s.Record.Profile.People()
	if len(chosen) == len(all) {
		return nil
	}
	in := map[string]bool{}
	for _, u := range chosen {
		in[u.Email] = true
	}
	var others []string
	for _, u := range all {
		if !in[u.Email] && len(others) < 3 {
			others = append(others, u.Email)
		}
	}
	rest := len(all) - len(chosen)
	name := fmt.Sprintf("%d other users are proven in %s by one of their class", rest, c.Name)
	if rest == 1 {
		name = "another user is proven in " + c.Name + " by one of their class"
	}
	if rest > len(others) {
		others = append(others, "…")
	}
	return []check.Result{{
		Group: "identity", OK: true, Name: name,
		Detail: strings.Join(others, ", ") + "; to log in all of them: devenv check --all-users",
	}}
}

package provision

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"time"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/check"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/jwt"
)

// login logs a user in with the client whose tokens a cluster takes.
func (e *Environment) login(ctx context.Context, c profiles.Cluster, u profiles.User) (check.Login, error) {
	token, err := e.Token(ctx, TokenRequest{User: u.Email, Client: c.Trust.Dex().ClientID})
	if err != nil {
		return check.Login{}, err
	}
	claims, err := jwt.Claims(token)
	if err != nil {
		return check.Login{}, err
	}
	return e.expectedLogin(c, u, claims, token)
}

// expectedLogin is whom the API server must take a user for. What an expression
// makes is known only as far as the profile says it.
func (e *Environment) expectedLogin(c profiles.Cluster, u profiles.User, claims map[string]any, token string) (check.Login, error) {
	trust := c.Trust.Dex()
	login := check.Login{Email: u.Email, Token: token, Claims: claims, AnyGroups: trust.GroupsExpression != ""}
	if trust.GroupsClaim == "groups" {
		for _, g := range u.Groups {
			login.Groups = append(login.Groups, trust.GroupsPrefix+g)
		}
	}
	for _, x := range e.record.Profile.Spec.Expectations {
		if x.User == u.Email && x.Cluster == c.Name && x.Username != "" {
			login.Username = x.Username
			return login, nil
		}
	}
	if trust.UsernameExpression != "" {
		return login, nil
	}
	name, ok := claims[trust.UsernameClaim].(string)
	if !ok {
		return login, fmt.Errorf("the token of %s has no claim %q", u.Email, trust.UsernameClaim)
	}
	switch {
	case trust.UsernamePrefix == "-":
	case trust.UsernamePrefix != "":
		name = trust.UsernamePrefix + name
	case trust.UsernameClaim != "email":
		name = e.Issuer() + "#" + name
	}
	login.Username = name
	return login, nil
}

// refusals are tokens of the first user that are wrong in exactly one way:
// signed by Dex's own key, unless the signature is what is wrong.
func (e *Environment) refusals(ctx context.Context, c profiles.Cluster, logins map[string]check.Login) ([]check.Refusal, error) {
	admin, err := e.admin(e.first().Name)
	if err != nil {
		return nil, err
	}
	dex, err := identity.ReadSigner(ctx, admin)
	if err != nil {
		return nil, err
	}
	good := logins[e.acceptedUsers(c)[0].Email].Token
	claims, err := jwt.Claims(good)
	if err != nil {
		return nil, err
	}
	var failed error
	forge := func(change map[string]any) string {
		altered := maps.Clone(claims)
		maps.Copy(altered, change)
		token, err := dex.Sign(altered)
		failed = errors.Join(failed, err)
		return token
	}
	hourAgo := time.Now().Add(-time.Hour).Unix()
	list := []check.Refusal{
		{Name: "no token"},
		{Name: "another audience", Token: forge(map[string]any{"aud": "somebody-else"}), Reason: regexp.MustCompile(`expected audience .* got \[[^\]]*\]`)},
		{Name: "expired", Token: forge(map[string]any{"iat": hourAgo - 3600, "exp": hourAgo}), Reason: regexp.MustCompile(`token is expired \(Token Expiry: [^)]*\)`)},
		{Name: "tampered", Token: tamper(good), Reason: regexp.MustCompile(`failed to verify signature: [^"\]]*`)},
		{Name: "another issuer", Token: forge(map[string]any{"iss": "https://elsewhere.example"}), Reason: regexp.MustCompile(`err="invalid bearer token"`)},
	}
	if c.Trust.Dex().UsernameClaim == "email" {
		notVerified := regexp.MustCompile(`oidc: email not verified`)
		list = append(list, check.Refusal{Name: "e-mail not verified", Token: forge(map[string]any{"email_verified": false}), Reason: notVerified})
		for _, u := range e.record.Profile.Spec.Dex.Users {
			if !*u.EmailVerified { // as Dex itself issues it
				list = append(list, check.Refusal{Name: "e-mail of " + u.Email + " not verified", Token: logins[u.Email].Token, Reason: notVerified})
			}
		}
	}
	return list, failed
}

// tamper changes one byte of a token's signature.
func tamper(token string) string {
	i := strings.LastIndex(token, ".") + 1
	other := byte('A')
	if token[i] == other {
		other = 'B'
	}
	return token[:i] + string(other) + token[i+1:]
}

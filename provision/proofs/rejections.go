package proofs

import (
	"context"
	"errors"
	"maps"
	"regexp"
	"strings"
	"time"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/check"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/jwt"
)

// rejections are tokens of the first user that are wrong in exactly one way:
// signed by Dex's own key, unless the signature is what is wrong.
func (s *suite) rejections(ctx context.Context, c profiles.Cluster, logins map[string]check.Login) ([]check.Rejection, error) {
	admin, err := s.Admin(s.First().Name)
	if err != nil {
		return nil, err
	}
	dex, err := identity.ReadSigner(ctx, admin)
	if err != nil {
		return nil, err
	}
	good := logins[s.acceptedUsers(c)[0].Email].Token
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
	list := []check.Rejection{
		{Name: "no token"},
		{Name: "another audience", Token: forge(map[string]any{"aud": "somebody-else"}), Reason: regexp.MustCompile(`expected audience .* got \[[^\]]*\]`)},
		{Name: "expired", Token: forge(map[string]any{"iat": hourAgo - 3600, "exp": hourAgo}), Reason: regexp.MustCompile(`token is expired \(Token Expiry: [^)]*\)`)},
		{Name: "tampered", Token: tamper(good), Reason: regexp.MustCompile(`failed to verify signature: [^"\]]*`)},
		{Name: "another issuer", Token: forge(map[string]any{"iss": "https://elsewhere.example"}), Reason: regexp.MustCompile(`err="invalid bearer token"`)},
	}
	if c.Trust.Dex().UsernameClaim == "email" {
		notVerified := regexp.MustCompile(`oidc: email not verified`)
		list = append(list, check.Rejection{Name: "e-mail not verified", Token: forge(map[string]any{"email_verified": false}), Reason: notVerified})
		for _, u := range s.Spec().Dex.Users {
			if !*u.EmailVerified { // as Dex itself issues it
				list = append(list, check.Rejection{Name: "e-mail of " + u.Email + " not verified", Token: logins[u.Email].Token, Reason: notVerified})
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

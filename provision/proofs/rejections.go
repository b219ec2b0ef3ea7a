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

// signatureReason is how an API server rejects a signature.
var signatureReason = regexp.MustCompile(`failed to verify signature: [^"\]]*`)

// rejections are tokens that the cluster must reject.
func (s *suite) rejections(ctx context.Context, c profiles.Cluster, logins map[string]check.Login) ([]check.Rejection, error) {
	good := logins[s.acceptedUsers(c)[0].Email].Token
	claims, err := jwt.Claims(good)
	if err != nil {
		return nil, err
	}
	list := []check.Rejection{
		{Name: "no token"},
		{Name: "tampered", Token: tamper(good), Reason: signatureReason},
	}
	forged, err := s.forgedByDex, error(nil)
	if s.External() {
		forged = forgedByStranger
	}
	more, err := forged(ctx, c, claims)
	if list = append(list, more...); err != nil {
		return nil, err
	}
	if c.Trust.Provider().UsernameClaim == "email" {
		for _, u := range s.people(c) {
			if !*u.EmailVerified { // as the provider itself issues it
				list = append(list, check.Rejection{Name: "e-mail of " + u.Email + " not verified", Token: logins[u.Email].Token, Reason: notVerified})
			}
		}
	}
	return list, nil
}

// notVerified is how an API server rejects an e-mail that is not verified.
var notVerified = regexp.MustCompile(`oidc: email not verified`)

// forgedByDex are tokens that are wrong in exactly one way, and signed by Dex's own
// key.
func (s *suite) forgedByDex(ctx context.Context, c profiles.Cluster, claims map[string]any) ([]check.Rejection, error) {
	admin, err := s.Admin(s.First().Name)
	if err != nil {
		return nil, err
	}
	dex, err := identity.ReadSigner(ctx, admin)
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
		{Name: "another audience", Token: forge(map[string]any{"aud": "somebody-else"}), Reason: regexp.MustCompile(`expected audience .* got \[[^\]]*\]`)},
		{Name: "expired", Token: forge(map[string]any{"iat": hourAgo - 3600, "exp": hourAgo}), Reason: regexp.MustCompile(`token is expired \(Token Expiry: [^)]*\)`)},
		{Name: "another issuer", Token: forge(map[string]any{"iss": "https://elsewhere.example"}), Reason: regexp.MustCompile(`err="invalid bearer token"`)},
	}
	if c.Trust.Provider().UsernameClaim == "email" {
		list = append(list, check.Rejection{Name: "e-mail not verified", Token: forge(map[string]any{"email_verified": false}), Reason: notVerified})
	}
	return list, failed
}

// forgedByStranger are tokens that are as they should be, but for a key that an
// external issuer does not have: its own key is nobody else's, so that what only
// it could sign is left out.
func forgedByStranger(_ context.Context, _ profiles.Cluster, claims map[string]any) ([]check.Rejection, error) {
	stranger, err := identity.NewSigner()
	if err != nil {
		return nil, err
	}
	altered := maps.Clone(claims)
	altered["iss"] = "https://elsewhere.example"
	ownKey, err := stranger.Sign(claims)
	elsewhere, elsewhereErr := stranger.Sign(altered)
	return []check.Rejection{
		{Name: "another key", Token: ownKey, Reason: signatureReason},
		{Name: "another issuer", Token: elsewhere, Reason: regexp.MustCompile(`err="invalid bearer token"`)},
	}, errors.Join(err, elsewhereErr)
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

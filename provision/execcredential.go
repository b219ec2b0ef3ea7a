package provision

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientauth "k8s.io/client-go/pkg/apis/clientauthentication/v1"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/jwt"
)

// early is how long before its end a token is given out no more, so that it
// does not expire on the way.
const early = 20 * time.Second

// ExecCredential logs a user in as Token does and returns the answer that
// kubectl wants from a credential plug-in, for the given API version
// (client.authentication.k8s.io/v1 or v1beta1, which have the same fields). The
// token is kept in the state folder and used until shortly before it expires.
func (e *Environment) ExecCredential(ctx context.Context, apiVersion string, r TokenRequest) (*clientauth.ExecCredential, error) {
	token, expires, err := e.cachedToken(ctx, r)
	if err != nil {
		return nil, err
	}
	return &clientauth.ExecCredential{
		TypeMeta: metav1.TypeMeta{APIVersion: apiVersion, Kind: "ExecCredential"},
		Status:   &clientauth.ExecCredentialStatus{Token: token, ExpirationTimestamp: &metav1.Time{Time: expires}},
	}, nil
}

func (e *Environment) cachedToken(ctx context.Context, r TokenRequest) (token string, expires time.Time, err error) {
	user, err := e.user(r.User)
	if err != nil {
		return "", time.Time{}, err
	}
	if r.Grant == GrantClientCredentials {
		user = &profiles.User{} // nobody
	}
	// a password is at hand, a person is not: only they need a refresh token,
	// and nobody knows who they are before they have logged in
	offline := r.Grant == GrantBrowser || r.Grant == GrantDevice
	who := user.Email
	if offline {
		who = r.User
	}
	// the password is part of the key, so that a changed one is tried
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%s\n%s\n%s", who, r.Client, user.Password, r.Password, r.Grant, r.Audience))
	file := hex.EncodeToString(sum[:8])
	var kept identity.Tokens
	if text, err := e.dir.Read("tokens", file); err == nil && json.Unmarshal(text, &kept) == nil {
		if expires, err := expiry(kept.ID); err == nil && time.Now().Before(expires) {
			return kept.ID, expires, nil
		}
	}
	tokens, err := e.tokens(ctx, r, kept.Refresh, offline)
	if err != nil {
		return "", time.Time{}, err
	}
	if expires, err = expiry(tokens.ID); err != nil {
		return "", time.Time{}, err
	}
	text, err := json.Marshal(tokens)
	if err != nil {
		return "", time.Time{}, err
	}
	_, err = e.dir.Write(text, "tokens", file)
	return tokens.ID, expires, err
}

// forgetTokens makes the next ExecCredential log in anew.
func (e *Environment) forgetTokens() error {
	if err := os.RemoveAll(e.dir.Path("tokens")); err != nil {
		return fmt.Errorf("could not remove the tokens that were kept: %w", err)
	}
	return nil
}

// expiry is when a token should be given out no more.
func expiry(token string) (time.Time, error) {
	at, err := jwt.Expiry(token)
	return at.Add(-early), err
}

// ExecAPIVersion reads from KUBERNETES_EXEC_INFO which API version kubectl
// wants the answer in; "" where the text is none of kubectl's.
func ExecAPIVersion(execInfo string) string {
	var info metav1.TypeMeta
	if err := json.Unmarshal([]byte(execInfo), &info); err != nil || info.Kind != "ExecCredential" {
		return ""
	}
	return info.APIVersion
}

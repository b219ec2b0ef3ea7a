package session

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
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/jwt"
)

// early is how long before its expiry a cached token is no longer used, so that
// it does not expire on the way.
const early = 20 * time.Second

// tokensFolder holds the cached tokens, below the environment's folder.
const tokensFolder = "tokens"

// ExecCredential logs a user in as Token does and returns the answer that
// kubectl wants from a credential plug-in, for the given API version
// (client.authentication.k8s.io/v1 or v1beta1, which have the same fields). The
// token is cached in the state folder until shortly before it expires.
func ExecCredential(ctx context.Context, e *environment.Environment, apiVersion string, r TokenRequest) (*clientauth.ExecCredential, error) {
	token, expires, err := cachedToken(ctx, e, r)
	if err != nil {
		return nil, err
	}
	return &clientauth.ExecCredential{
		TypeMeta: metav1.TypeMeta{APIVersion: apiVersion, Kind: "ExecCredential"},
		Status:   &clientauth.ExecCredentialStatus{Token: token, ExpirationTimestamp: &metav1.Time{Time: expires}},
	}, nil
}

func cachedToken(ctx context.Context, e *environment.Environment, r TokenRequest) (token string, expires time.Time, err error) {
	user, err := userOf(e, r.User)
	if err != nil {
		return "", time.Time{}, err
	}
	if r.Grant == GrantClientCredentials {
		user = &profiles.User{} // nobody
	}
	// devenv has the passwords, but no person at hand: only these grants need a
	// refresh token, and nobody knows who it is before they have logged in
	offline := r.Grant == GrantBrowser || r.Grant == GrantDevice
	who := user.Email
	if offline {
		who = r.User
	}
	// the password is part of the key, so that a changed one is tried
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%s\n%s\n%s", who, r.Client, user.Password, r.Password, r.Grant, r.Audience))
	file := hex.EncodeToString(sum[:8])
	var cached identity.Tokens
	if text, err := e.Dir.Read(tokensFolder, file); err == nil && json.Unmarshal(text, &cached) == nil {
		if expires, err := expiry(cached.ID); err == nil && time.Now().Before(expires) {
			return cached.ID, expires, nil
		}
	}
	tokens, err := logIn(ctx, e, r, cached.Refresh, offline)
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
	_, err = e.Dir.Write(text, tokensFolder, file)
	return tokens.ID, expires, err
}

// ForgetTokens clears the cache: the next ExecCredential logs in again.
func ForgetTokens(e *environment.Environment) error {
	if err := os.RemoveAll(e.Dir.Path(tokensFolder)); err != nil {
		return fmt.Errorf("could not remove the cached tokens: %w", err)
	}
	return nil
}

// expiry is when a token is no longer to be used.
func expiry(token string) (time.Time, error) {
	at, err := jwt.Expiry(token)
	return at.Add(-early), err
}

// ExecAPIVersion reads from KUBERNETES_EXEC_INFO which API version kubectl
// wants the answer in; "" where the text is not kubectl's.
func ExecAPIVersion(execInfo string) string {
	var info metav1.TypeMeta
	if err := json.Unmarshal([]byte(execInfo), &info); err != nil || info.Kind != "ExecCredential" {
		return ""
	}
	return info.APIVersion
}

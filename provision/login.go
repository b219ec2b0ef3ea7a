package provision

import (
	"context"
	"slices"

	clientauth "k8s.io/client-go/pkg/apis/clientauthentication/v1"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/session"
)

// What the requests below are made of; package session says more.
type (
	TokenRequest      = session.TokenRequest
	KubeconfigRequest = session.KubeconfigRequest
	ShareRequest      = session.ShareRequest
)

// Grants by which users and clients get tokens.
const (
	GrantPassword          = session.GrantPassword
	GrantBrowser           = session.GrantBrowser
	GrantDevice            = session.GrantDevice
	GrantClientCredentials = session.GrantClientCredentials
)

// Flavors of kubeconfig.
const (
	FlavorExec      = session.FlavorExec
	FlavorToken     = session.FlavorToken
	FlavorKubelogin = session.FlavorKubelogin
	FlavorAdmin     = session.FlavorAdmin
)

// Users are those that the environment should have, with their passwords.
func (e *Environment) Users() []profiles.User { return slices.Clone(e.env.Spec().Users()) }

// Clients are those that the environment should have, with their secrets.
func (e *Environment) Clients() []profiles.Client { return slices.Clone(e.env.Spec().Clients()) }

// TrustedClient is the id of the client whose tokens a cluster accepts; empty
// where it does not trust the environment's issuer, or does not exist.
func (e *Environment) TrustedClient(cluster string) string {
	c := e.env.Record.Profile.Cluster(cluster)
	if c == nil {
		return ""
	}
	return c.Trust.Provider().ClientID
}

// Token logs a user in and returns the ID token.
func (e *Environment) Token(ctx context.Context, r TokenRequest) (string, error) {
	return session.Token(ctx, e.env, r)
}

// Claims reads a token's claims without verifying it.
func Claims(token string) (map[string]any, error) { return session.Claims(token) }

// ExecCredential is Token as kubectl wants it from a credential plug-in, with a
// cache; apiVersion is one that ExecAPIVersion reads.
func (e *Environment) ExecCredential(ctx context.Context, apiVersion string, r TokenRequest) (*clientauth.ExecCredential, error) {
	return session.ExecCredential(ctx, e.env, apiVersion, r)
}

// ExecAPIVersion reads from KUBERNETES_EXEC_INFO which API version kubectl
// wants; "" where the text is not kubectl's.
func ExecAPIVersion(execInfo string) string { return session.ExecAPIVersion(execInfo) }

// Kubeconfig makes a kubeconfig.
func (e *Environment) Kubeconfig(ctx context.Context, r KubeconfigRequest) (*clientcmdapi.Config, error) {
	return session.Kubeconfig(ctx, e.env, r)
}

// MergeKubeconfig adds a kubeconfig's entries to the user's own file; Down
// removes them. It returns the file and the context.
func (e *Environment) MergeKubeconfig(config *clientcmdapi.Config) (file, context string, err error) {
	return session.Merge(e.env, config)
}

// Share serves kubeconfigs to whoever logs in, until the context ends.
func (e *Environment) Share(ctx context.Context, r ShareRequest) error {
	return session.Share(ctx, e.env, r)
}

package session

import (
	"cmp"
	"context"
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/record"
)

// Flavors of kubeconfig.
const (
	FlavorExec      = "exec"      // kubectl calls devenv for a token
	FlavorToken     = "token"     // it holds a token, and is useless when that expires
	FlavorKubelogin = "kubelogin" // kubectl calls kubelogin, which opens a browser
	FlavorAdmin     = "admin"     // the cluster's own administrator
)

// KubeconfigRequest asks for a kubeconfig.
type KubeconfigRequest struct {
	Cluster string // the first when empty
	User    string // e-mail; the first when empty
	Flavor  string // FlavorExec when empty
	// Executable is the devenv that an exec kubeconfig calls.
	Executable string
	// Grant by which that devenv gets tokens; GrantPassword when empty.
	Grant string
	// ExecAPIVersion is v1 or v1beta1, of client.authentication.k8s.io; v1 when
	// empty.
	ExecAPIVersion string
}

// Kubeconfig makes a kubeconfig.
func Kubeconfig(ctx context.Context, e *environment.Environment, r KubeconfigRequest) (*clientcmdapi.Config, error) {
	c := &e.Spec().Clusters[0]
	if r.Cluster != "" {
		if c = e.Record.Profile.Cluster(r.Cluster); c == nil {
			return nil, failure.Newf(failure.Usage, "there is no cluster %q in environment %q", r.Cluster, e.Name()).
				Hint("the clusters are: %s", e.Record.ClusterNames())
		}
	}
	user, err := userOf(e, r.User)
	if err != nil {
		return nil, err
	}
	if c.Trust.Provider().ClientID == "" && r.Flavor != FlavorAdmin {
		return nil, failure.Newf(failure.Usage, "cluster %q does not trust the issuer, so that no user can log in there", c.Name).
			Hint("its administrator's: devenv kubeconfig --flavor admin --cluster %s%s", c.Name, record.NameFlag(e.Name()))
	}
	switch r.Flavor {
	case FlavorExec, "":
		if r.User == "" && r.Grant != "" && r.Grant != GrantPassword {
			return execKubeconfig(e, *c, "", r) // whoever logs in
		}
		return execKubeconfig(e, *c, user.Email, r)
	case FlavorKubelogin:
		return kubeloginKubeconfig(ctx, e, *c, r)
	case FlavorToken:
		token, err := Token(ctx, e, TokenRequest{User: user.Email, Client: c.Trust.Provider().ClientID})
		if err != nil {
			return nil, err
		}
		return TokenKubeconfig(e, *c, user.Email, token)
	case FlavorAdmin:
		config, err := clientcmd.LoadFromFile(e.KubeconfigFile(c.Name))
		if err != nil {
			return nil, fmt.Errorf("could not read the kubeconfig of the cluster %q: %w", c.Name, err)
		}
		return config, nil
	}
	return nil, failure.Newf(failure.Usage, "there is no kubeconfig flavor %q", r.Flavor).Hint("choose exec, token, kubelogin or admin")
}

// TokenKubeconfig holds a token and nothing else that could log in.
func TokenKubeconfig(e *environment.Environment, c profiles.Cluster, email, token string) (*clientcmdapi.Config, error) {
	return withUser(e, c, email, &clientcmdapi.AuthInfo{Token: token})
}

// withUser makes a kubeconfig with one context, for one user. It has no
// credentials of the administrator: a client certificate would win over any
// token.
func withUser(e *environment.Environment, c profiles.Cluster, email string, auth *clientcmdapi.AuthInfo) (*clientcmdapi.Config, error) {
	admin, err := e.Admin(c.Name)
	if err != nil {
		return nil, err
	}
	cluster := "devenv-" + e.Name() + "-" + c.Name
	user := email + "@" + cluster
	return &clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{cluster: {
			Server: admin.Config.Host, CertificateAuthorityData: admin.Config.CAData,
		}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{user: auth},
		Contexts:       map[string]*clientcmdapi.Context{user: {Cluster: cluster, AuthInfo: user}},
		CurrentContext: user,
	}, nil
}

// execAPIVersion is the group and version of a kubeconfig's credential plug-in.
func (r KubeconfigRequest) execAPIVersion() string {
	return "client.authentication.k8s.io/" + cmp.Or(r.ExecAPIVersion, "v1")
}

func execKubeconfig(e *environment.Environment, c profiles.Cluster, email string, r KubeconfigRequest) (*clientcmdapi.Config, error) {
	args := []string{"token", "--name", e.Name(), "--client", c.Trust.Provider().ClientID}
	if email != "" {
		args = append(args, "--user", email)
	}
	interactive := clientcmdapi.NeverExecInteractiveMode
	if r.Grant != "" && r.Grant != GrantPassword { // a person logs in
		args = append(args, "--grant", r.Grant)
		interactive = clientcmdapi.IfAvailableExecInteractiveMode
	}
	return withUser(e, c, cmp.Or(email, "oidc"), &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{
		APIVersion:      r.execAPIVersion(),
		Command:         r.Executable,
		Args:            args,
		Env:             []clientcmdapi.ExecEnvVar{{Name: "DEVENV_HOME", Value: string(e.Home)}},
		InteractiveMode: interactive,
		InstallHint:     "devenv is not at " + r.Executable + " any more; write this kubeconfig again with: devenv kubeconfig" + record.NameFlag(e.Name()),
	}})
}

// kubeloginKubeconfig has kubectl call kubelogin, as its documentation says
// (https://github.com/int128/kubelogin). The user is whoever logs in in the
// browser.
func kubeloginKubeconfig(ctx context.Context, e *environment.Environment, c profiles.Cluster, r KubeconfigRequest) (*clientcmdapi.Config, error) {
	client := e.Record.Profile.Client(c.Trust.Provider().ClientID)
	args := []string{
		"oidc-login", "get-token",
		"--oidc-issuer-url=" + e.Issuer(),
		"--oidc-client-id=" + client.ID,
	}
	if client.Secret != "" {
		args = append(args, "--oidc-client-secret="+client.Secret)
	}
	scopes := []string{"email", "profile", "groups"}
	if provider, err := e.Provider(); err == nil && e.External() {
		scopes = provider.Scopes(ctx, scopes...)
	}
	for _, scope := range scopes {
		args = append(args, "--oidc-extra-scope="+scope)
	}
	if file := e.IssuerCAFile(); file != "" {
		args = append(args, "--certificate-authority="+file)
	}
	return withUser(e, c, "oidc", &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{
		APIVersion: r.execAPIVersion(), Command: "kubectl", Args: args,
		InteractiveMode: clientcmdapi.IfAvailableExecInteractiveMode,
		InstallHint:     "kubectl has no plug-in oidc-login; get kubelogin: https://github.com/int128/kubelogin",
	}})
}

// UserKubeconfigFile is the kubeconfig that `up` writes for the first user.
func UserKubeconfigFile(e *environment.Environment) string { return e.Dir.Path("kubeconfig") }

// WriteUserKubeconfig writes it; kubectl will call that devenv for tokens, or
// where there is none, use the one in it.
func WriteUserKubeconfig(ctx context.Context, e *environment.Environment, devenv string) error {
	request := KubeconfigRequest{Executable: devenv}
	if devenv == "" {
		request.Flavor = FlavorToken
	}
	config, err := Kubeconfig(ctx, e, request)
	if err != nil {
		return err
	}
	text, err := clientcmd.Write(*config)
	if err != nil {
		return err
	}
	_, err = e.Dir.Write(text, "kubeconfig")
	return err
}

package provision

import (
	"cmp"
	"context"
	"fmt"
	"os"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/failure"
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
func (e *Environment) Kubeconfig(ctx context.Context, r KubeconfigRequest) (*clientcmdapi.Config, error) {
	c := &e.record.Profile.Spec.Clusters[0]
	if r.Cluster != "" {
		if c = e.record.Profile.Cluster(r.Cluster); c == nil {
			return nil, failure.Newf(failure.Usage, "there is no cluster %q in environment %q", r.Cluster, e.record.Name).
				Hint("the clusters are: %s", clusterNames(e.record))
		}
	}
	user, err := e.user(r.User)
	if err != nil {
		return nil, err
	}
	if c.Trust.Dex().ClientID == "" && r.Flavor != FlavorAdmin {
		return nil, failure.Newf(failure.Usage, "cluster %q does not trust Dex, so that no user can log in there", c.Name).
			Hint("its administrator's: devenv kubeconfig --flavor admin --cluster %s%s", c.Name, nameFlag(e.record.Name))
	}
	switch r.Flavor {
	case FlavorExec, "":
		if r.User == "" && r.Grant != "" && r.Grant != GrantPassword {
			return e.execKubeconfig(*c, "", r) // whoever logs in
		}
		return e.execKubeconfig(*c, user.Email, r)
	case FlavorKubelogin:
		return e.kubeloginKubeconfig(*c, r)
	case FlavorToken:
		token, err := e.Token(ctx, TokenRequest{User: user.Email, Client: c.Trust.Dex().ClientID})
		if err != nil {
			return nil, err
		}
		return e.tokenKubeconfig(*c, user.Email, token)
	case FlavorAdmin:
		config, err := clientcmd.LoadFromFile(e.KubeconfigFile(c.Name))
		if err != nil {
			return nil, fmt.Errorf("could not read the kubeconfig of the cluster %q: %w", c.Name, err)
		}
		return config, nil
	}
	return nil, failure.Newf(failure.Usage, "there is no kubeconfig flavor %q", r.Flavor).Hint("choose exec, token, kubelogin or admin")
}

// withUser makes a kubeconfig with one context, for one user. It has nothing of
// the administrator: a client certificate would win over any token.
func (e *Environment) withUser(c profiles.Cluster, email string, auth *clientcmdapi.AuthInfo) (*clientcmdapi.Config, error) {
	admin, err := e.admin(c.Name)
	if err != nil {
		return nil, err
	}
	cluster := "devenv-" + e.record.Name + "-" + c.Name
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

func (e *Environment) tokenKubeconfig(c profiles.Cluster, email, token string) (*clientcmdapi.Config, error) {
	return e.withUser(c, email, &clientcmdapi.AuthInfo{Token: token})
}

// execAPIVersion is the group and version of a kubeconfig's credential plug-in.
func (r KubeconfigRequest) execAPIVersion() string {
	return "client.authentication.k8s.io/" + cmp.Or(r.ExecAPIVersion, "v1")
}

func (e *Environment) execKubeconfig(c profiles.Cluster, email string, r KubeconfigRequest) (*clientcmdapi.Config, error) {
	args := []string{"token", "--name", e.record.Name, "--client", c.Trust.Dex().ClientID}
	if email != "" {
		args = append(args, "--user", email)
	}
	interactive := clientcmdapi.NeverExecInteractiveMode
	if r.Grant != "" && r.Grant != GrantPassword { // a person logs in
		args = append(args, "--grant", r.Grant)
		interactive = clientcmdapi.IfAvailableExecInteractiveMode
	}
	return e.withUser(c, cmp.Or(email, "oidc"), &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{
		APIVersion:      r.execAPIVersion(),
		Command:         r.Executable,
		Args:            args,
		Env:             []clientcmdapi.ExecEnvVar{{Name: "DEVENV_HOME", Value: string(e.home)}},
		InteractiveMode: interactive,
		InstallHint:     "devenv is not at " + r.Executable + " any more; write this kubeconfig anew with: devenv kubeconfig" + nameFlag(e.record.Name),
	}})
}

// kubeloginKubeconfig has kubectl call kubelogin, as its documentation has it
// (https://github.com/int128/kubelogin). Who the user is turns out in the
// browser.
func (e *Environment) kubeloginKubeconfig(c profiles.Cluster, r KubeconfigRequest) (*clientcmdapi.Config, error) {
	client := e.record.Profile.Client(c.Trust.Dex().ClientID)
	args := []string{
		"oidc-login", "get-token",
		"--oidc-issuer-url=" + e.Issuer(),
		"--oidc-client-id=" + client.ID,
	}
	if client.Secret != "" {
		args = append(args, "--oidc-client-secret="+client.Secret)
	}
	for _, scope := range []string{"email", "profile", "groups"} {
		args = append(args, "--oidc-extra-scope="+scope)
	}
	args = append(args, "--certificate-authority="+e.CAFile())
	return e.withUser(c, "oidc", &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{
		APIVersion: r.execAPIVersion(), Command: "kubectl", Args: args,
		InteractiveMode: clientcmdapi.IfAvailableExecInteractiveMode,
		InstallHint:     "kubectl has no plug-in oidc-login; get kubelogin: https://github.com/int128/kubelogin",
	}})
}

// UserKubeconfigFile is the exec kubeconfig that `up` leaves for the first
// user.
func (e *Environment) UserKubeconfigFile() string { return e.dir.Path("kubeconfig") }

func (e *Environment) writeKubeconfig() error {
	executable, err := os.Executable()
	if err != nil {
		return err
	}
	config, err := e.Kubeconfig(context.Background(), KubeconfigRequest{Executable: executable})
	if err != nil {
		return err
	}
	text, err := clientcmd.Write(*config)
	if err != nil {
		return err
	}
	_, err = e.dir.Write(text, "kubeconfig")
	return err
}

package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

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

// mergedFile remembers into which kubeconfigs the environment was merged.
const mergedFile = "merged-kubeconfigs"

// MergeKubeconfig adds a kubeconfig's entries to the user's own file, and
// leaves its current context alone unless it has none. It returns the file and
// the context.
func (e *Environment) MergeKubeconfig(config *clientcmdapi.Config) (file, context string, err error) {
	options := clientcmd.NewDefaultPathOptions()
	options.LoadingRules.DoNotResolvePaths = true
	file = options.GetDefaultFilename()
	unlock, err := lockKubeconfig(file)
	if err != nil {
		return "", "", err
	}
	defer unlock()
	target, err := clientcmd.LoadFromFile(file)
	if errors.Is(err, os.ErrNotExist) {
		target, err = clientcmdapi.NewConfig(), nil
	}
	if err != nil {
		return "", "", fmt.Errorf("could not read %s: %w", file, err)
	}
	prefix := e.entryPrefix()
	for name, value := range config.Clusters {
		target.Clusters[prefix+name] = value
	}
	for name, value := range config.AuthInfos {
		target.AuthInfos[prefix+name] = value
	}
	for name, value := range config.Contexts {
		value = value.DeepCopy()
		value.Cluster, value.AuthInfo = prefix+value.Cluster, prefix+value.AuthInfo
		context = prefix + name
		target.Contexts[context] = value
	}
	if target.CurrentContext == "" {
		target.CurrentContext = context
	}
	if err := e.rememberMerged(file); err != nil {
		return "", "", err
	}
	if err := clientcmd.WriteToFile(*target, file); err != nil {
		return "", "", fmt.Errorf("could not write %s: %w", file, err)
	}
	return file, context, nil
}

// entryPrefix starts the name of every entry of this environment in somebody
// else's kubeconfig; the slash keeps environments apart whose names start
// alike.
func (e *Environment) entryPrefix() string { return "devenv/" + e.record.Name + "/" }

func (e *Environment) rememberMerged(file string) error {
	have, err := e.dir.Read(mergedFile)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	files := strings.Split(strings.TrimSpace(string(have)), "\n")
	if len(have) == 0 {
		files = nil
	}
	if slices.Contains(files, file) {
		return nil
	}
	_, err = e.dir.Write([]byte(strings.Join(append(files, file), "\n")+"\n"), mergedFile)
	return err
}

// unmergeKubeconfig takes the environment's entries out of every kubeconfig it
// was merged into.
func (e *Environment) unmergeKubeconfig() (changed bool, err error) {
	have, err := e.dir.Read(mergedFile)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // never merged
	}
	if err != nil {
		return false, err
	}
	for _, file := range strings.Split(strings.TrimSpace(string(have)), "\n") {
		did, err := e.unmergeFrom(file)
		if err != nil {
			return changed, err
		}
		changed = changed || did
	}
	return changed, nil
}

func (e *Environment) unmergeFrom(file string) (changed bool, err error) {
	unlock, err := lockKubeconfig(file)
	if err != nil {
		return false, err
	}
	defer unlock()
	config, err := clientcmd.LoadFromFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("could not read %s: %w", file, err)
	}
	mine := func(name string) bool { return strings.HasPrefix(name, e.entryPrefix()) }
	for name := range config.Contexts {
		if mine(name) {
			delete(config.Contexts, name)
			changed = true
		}
	}
	for name := range config.Clusters {
		if mine(name) {
			delete(config.Clusters, name)
			changed = true
		}
	}
	for name := range config.AuthInfos {
		if mine(name) {
			delete(config.AuthInfos, name)
			changed = true
		}
	}
	if mine(config.CurrentContext) {
		config.CurrentContext = ""
	}
	if !changed {
		return false, nil
	}
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		return false, fmt.Errorf("could not write %s: %w", file, err)
	}
	return true, nil
}

// lockKubeconfig takes the lock that kubectl and kind take, a file beside.
func lockKubeconfig(file string) (unlock func(), err error) {
	lock := file + ".lock"
	f, err := os.OpenFile(lock, os.O_CREATE|os.O_EXCL, 0o600)
	if os.IsNotExist(err) { // no ~/.kube yet
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(lock, os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		return nil, failure.New(failure.Prerequisite, fmt.Errorf("could not lock %s: %w", file, err), "if no other program is writing it: rm "+lock)
	}
	return func() {
		f.Close()
		os.Remove(lock)
	}, nil
}

// Package provision makes, proves and removes environments. It is a library:
// the commands of cmd/devenv do nothing that a Go test could not.
//
// Up's plan is in plan.go: read that first.
package provision

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/state"
	"github.com/devenv-oidc/devenv/provision/trust"
)

// Environment is one that has a record: being made, made, or half gone.
type Environment struct {
	home    state.Home
	dir     state.Dir
	record  *state.Record
	pins    profiles.Pins
	runtime runtime

	mu     sync.Mutex
	admins map[string]*kube.Client
}

var namePattern = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,18}[a-z0-9])?$`)

// checkName refuses names that would not do as a part of a host name.
func checkName(name string) error {
	if !namePattern.MatchString(name) {
		return failure.Newf(failure.Usage, "%q is no name for an environment", name).
			Hint("use at most 20 small letters, digits and dashes, starting with a letter")
	}
	return nil
}

// Open returns an environment that exists, or an error of class Usage.
func Open(home state.Home, name string) (*Environment, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	record, err := home.Dir(name).Record()
	if errors.Is(err, fs.ErrNotExist) {
		absent := failure.Newf(failure.Usage, "there is no environment %q", name)
		if names, err := home.Names(); err == nil {
			if near := profiles.Nearest(name, names); near != "" {
				return nil, absent.Hint("did you mean devenv --name %s?", near)
			}
		}
		return nil, absent.Hint("make it with: devenv up%s", nameFlag(name))
	}
	if err != nil {
		return nil, failure.New(failure.Usage, err, "take it away and make it anew: devenv down"+nameFlag(name))
	}
	return newEnvironment(home, record), nil
}

func newEnvironment(home state.Home, record *state.Record) *Environment {
	e := &Environment{
		home: home, dir: home.Dir(record.Name), record: record, pins: record.Pins, admins: map[string]*kube.Client{},
	}
	if record.Runtime == profiles.RuntimeProcess {
		e.runtime = newProcessRuntime(e)
	} else {
		e.runtime = newKindRuntime(e)
	}
	return e
}

// nameFlag is how the command line names an environment; the default needs no
// word.
func nameFlag(name string) string {
	if name == DefaultName {
		return ""
	}
	return " --name " + name
}

// upAgain is the command that made the environment.
func (e *Environment) upAgain() string {
	return "devenv up" + nameFlag(e.record.Name) + e.record.Arguments
}

// DefaultName is the environment that commands mean when they name none.
const DefaultName = "dev"

// issuerHost is the issuer's name, for everybody who has to find it.
func (e *Environment) issuerHost() string { return e.runtime.host("dex") }

// Issuer is the issuer's URL: the same from the host, from the API server,
// from pods and from other clusters.
func (e *Environment) Issuer() string {
	return fmt.Sprintf("https://%s:%d", e.issuerHost(), e.record.IssuerPort)
}

// IssuerAddress is where the host dials to reach the issuer, whatever its
// resolver thinks of the name.
func (e *Environment) IssuerAddress() string {
	return loopback(e.record.IssuerPort)
}

// CAFile is the certificate of the environment's authority.
func (e *Environment) CAFile() string { return e.dir.Path("ca.crt") }

// KubeconfigFile is a cluster's administrator's kubeconfig.
func (e *Environment) KubeconfigFile(clusterName string) string {
	return e.dir.Path("clusters", clusterName, "admin.kubeconfig")
}

// LogFile is where a part's log goes.
func (e *Environment) LogFile(part string) string { return e.dir.Path("logs", part+".log") }

// authority reads the environment's authority; the trust step made it.
func (e *Environment) authority() (*trust.Authority, error) {
	cert, certErr := e.dir.Read("ca.crt")
	key, keyErr := e.dir.Read("ca.key")
	if err := errors.Join(certErr, keyErr); err != nil {
		return nil, fmt.Errorf("could not read the environment's authority: %w", err)
	}
	return trust.ParseAuthority(cert, key)
}

// issuerClient speaks https to the issuer: it trusts the environment's
// authority alone and dials the loopback, so that it needs no resolver.
func (e *Environment) issuerClient() (*http.Client, error) {
	authority, err := e.authority()
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	own := net.JoinHostPort(e.issuerHost(), fmt.Sprint(e.record.IssuerPort))
	return &http.Client{
		Timeout: 15 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: authority.Pool(), MinVersion: tls.VersionTLS12},
			DisableKeepAlives: true, // Dex's pod may be replaced between two calls
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				if address == own {
					address = e.IssuerAddress()
				}
				return dialer.DialContext(ctx, network, address)
			},
		},
	}, nil
}

// admin is the administrator's access to a cluster, from its kubeconfig.
func (e *Environment) admin(clusterName string) (*kube.Client, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if client := e.admins[clusterName]; client != nil {
		return client, nil
	}
	text, err := os.ReadFile(e.KubeconfigFile(clusterName))
	if err != nil {
		return nil, fmt.Errorf("could not read the kubeconfig of the cluster %q: %w", clusterName, err)
	}
	client, err := kube.New(text)
	if err == nil {
		e.admins[clusterName] = client
	}
	return client, err
}

// cluster returns the handle of a cluster.
func (e *Environment) cluster(c profiles.Cluster) Cluster { return e.runtime.cluster(c) }

// apiServerFlags are kube-apiserver's flags by which a cluster trusts issuers,
// and is one; it sees the environment's authority as caFile, and its
// configuration as configFile.
func (e *Environment) apiServerFlags(c profiles.Cluster, caFile, configFile string) map[string]string {
	flags := map[string]string{}
	if c.PublicIssuer {
		flags["service-account-issuer"] = e.runtime.server(c)
		flags["service-account-jwks-uri"] = e.runtime.server(c) + "/openid/v1/jwks"
	}
	f := c.Trust.Flags
	if f == nil {
		flags["authentication-config"] = configFile
		return flags
	}
	flags["oidc-issuer-url"], flags["oidc-client-id"], flags["oidc-ca-file"] = e.Issuer(), f.ClientID, caFile
	for name, value := range map[string]string{
		"oidc-username-claim":  f.UsernameClaim,
		"oidc-username-prefix": f.UsernamePrefix,
		"oidc-groups-claim":    f.GroupsClaim,
		"oidc-groups-prefix":   f.GroupsPrefix,
	} {
		if value != "" {
			flags[name] = value
		}
	}
	return flags
}

// first is the cluster that Dex's objects are in, and its pods where there are
// any.
func (e *Environment) first() profiles.Cluster { return e.record.Profile.Spec.Clusters[0] }

// dexImage is the image of the Dex that the profile asks for.
func (e *Environment) dexImage() profiles.ImagePin {
	return e.pins.DexImage(e.record.Profile.Spec.Dex.Version)
}

// dexSettings are Dex's; certificate is the fingerprint of the one it serves.
func (e *Environment) dexSettings(certificate string) identity.Settings {
	spec := e.record.Profile.Spec.Dex
	return identity.Settings{
		Issuer: e.Issuer(), Dex: spec, Image: e.dexImage(), Certificate: certificate,
		ClientCredentials: e.pins.DexHas(spec.Version, GrantClientCredentials),
	}
}

// cacheFolder is where what was downloaded is kept, for all environments.
func cacheFolder(of string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("could not find the cache folder: %w", err)
	}
	return filepath.Join(cache, "devenv", of), nil
}

// lazyFile opens its file, and makes its folder, at the first write.
type lazyFile struct {
	path string
	file *os.File
}

func (l *lazyFile) Write(p []byte) (int, error) {
	if l.file == nil {
		if err := os.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
			return 0, err
		}
		f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return 0, err
		}
		l.file = f
	}
	return l.file.Write(p)
}

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
	"github.com/devenv-oidc/devenv/provision/cluster"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/state"
	"github.com/devenv-oidc/devenv/provision/trust"
)

// Environment is one that has a record: being made, made, or half gone.
type Environment struct {
	home   state.Home
	dir    state.Dir
	record *state.Record
	pins   profiles.Pins
	engine *cluster.Engine // nil where none was looked for

	mu       sync.Mutex
	clusters map[string]*cluster.Cluster
	admins   map[string]*kube.Client
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
	return &Environment{
		home: home, dir: home.Dir(record.Name), record: record, pins: record.Pins,
		clusters: map[string]*cluster.Cluster{}, admins: map[string]*kube.Client{},
	}
}

// nameFlag is how the command line names an environment; the default needs no
// word.
func nameFlag(name string) string {
	if name == DefaultName {
		return ""
	}
	return " --name " + name
}

// DefaultName is the environment that commands mean when they name none.
const DefaultName = "dev"

// domain is what the environment's authority may sign for.
func (e *Environment) domain() string { return e.record.Name + ".localhost" }

func (e *Environment) issuerHost() string { return "dex." + e.domain() }

// Issuer is the issuer's URL: the same from the host, from the API server,
// from pods and from other clusters.
func (e *Environment) Issuer() string {
	return fmt.Sprintf("https://%s:%d", e.issuerHost(), e.record.IssuerPort)
}

// IssuerAddress is where the host dials to reach the issuer, whatever its
// resolver thinks of the name.
func (e *Environment) IssuerAddress() string {
	return fmt.Sprintf("127.0.0.1:%d", e.record.IssuerPort)
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

// findEngine makes the engine known, once.
func (e *Environment) findEngine(ctx context.Context) error {
	if e.engine != nil {
		return nil
	}
	engine, err := findEngine(ctx, e.record.Engine)
	e.engine = engine
	return err
}

func findEngine(ctx context.Context, command string) (*cluster.Engine, error) {
	engine, err := cluster.FindEngine(ctx, command)
	var silent *cluster.SilentEngineError
	switch {
	case errors.As(err, &silent):
		return nil, failure.New(failure.Prerequisite, err, "start it, for example: sudo systemctl start "+silent.Command, "then see whether it answers: "+silent.Command+" info")
	case errors.Is(err, cluster.ErrNoEngine):
		return nil, failure.New(failure.Prerequisite, err, "install one, for example Docker: https://docs.docker.com/engine/install/")
	}
	return engine, err
}

// cluster returns the handle of a cluster; the engine must be known.
func (e *Environment) cluster(c profiles.Cluster) *cluster.Cluster {
	e.mu.Lock()
	defer e.mu.Unlock()
	if handle := e.clusters[c.Name]; handle != nil {
		return handle
	}
	handle := cluster.New(e.engine, e.clusterSpec(c), &lazyFile{path: e.LogFile("kind-" + c.Name)})
	e.clusters[c.Name] = handle
	return handle
}

// clusterSpec is a cluster of the profile in the cluster package's terms.
func (e *Environment) clusterSpec(c profiles.Cluster) cluster.Spec {
	return cluster.Spec{
		Name:              "devenv-" + e.record.Name + "-" + c.Name,
		Image:             e.pins.NodeImages[c.KubernetesVersion].Image,
		KubernetesVersion: c.KubernetesVersion,
		APIPort:           e.record.APIPorts[c.Name],
		Ports:             []int{e.record.IssuerPort},
		Files:             e.dir.Path("clusters", c.Name, "node"),
		APIServerArgs:     e.oidcFlags(c.Trust.Flags),
		HostAliases:       []string{e.issuerHost()},
		Kubeconfig:        e.KubeconfigFile(c.Name),
	}
}

// oidcFlags are kube-apiserver's --oidc-* flags.
func (e *Environment) oidcFlags(f *profiles.OIDCFlags) map[string]string {
	flags := map[string]string{
		"oidc-issuer-url": e.Issuer(),
		"oidc-client-id":  f.ClientID,
		"oidc-ca-file":    cluster.KubernetesPath("ca.crt"),
	}
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

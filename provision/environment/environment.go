// Package environment is one environment as it stands on this machine: its
// record, its files, the addresses by which it is reached, and clients for its
// API servers and its issuer. It starts and changes nothing.
package environment

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/state"
	"github.com/devenv-oidc/devenv/provision/trust"
)

// Environment is one that has a record: being made, complete, or half deleted.
type Environment struct {
	Home   state.Home
	Dir    state.Dir
	Record *record.Record
	// Runtime is what the runtime decided about the record.
	Runtime record.Runtime
	// NoPrune keeps what an earlier profile had and this one does not.
	NoPrune bool

	mu       sync.Mutex
	admins   map[string]*kube.Client
	provider *identity.Provider
}

// New returns the environment of a record; it touches nothing.
func New(home state.Home, r *record.Record, runtime record.Runtime) *Environment {
	return &Environment{Home: home, Dir: home.Dir(r.Name), Record: r, Runtime: runtime, admins: map[string]*kube.Client{}}
}

// Name of the environment.
func (e *Environment) Name() string { return e.Record.Name }

// Spec is the profile's.
func (e *Environment) Spec() *profiles.Spec { return &e.Record.Profile.Spec }

// First is the cluster that holds Dex's objects, and its pods where pods run.
func (e *Environment) First() profiles.Cluster { return e.Record.First() }

// IsFirst says whether a cluster is the first.
func (e *Environment) IsFirst(c profiles.Cluster) bool { return c.Name == e.First().Name }

// Save writes the record.
func (e *Environment) Save() error { return e.Record.Save(e.Dir) }

// Host is the DNS name of something that the environment serves.
func (e *Environment) Host(of string) string { return e.Runtime.Host(e.Record.Name, of) }

// EndpointURL is where an endpoint of the profile answers.
func (e *Environment) EndpointURL(name string) string {
	return fmt.Sprintf("https://%s:%d", e.Host(name), e.Record.EndpointPorts[name])
}

// Server is the URL by which other clusters reach a cluster's API server.
func (e *Environment) Server(cluster string) string { return e.Runtime.Server(e.Record, cluster) }

// CAFile is the certificate of the environment's CA.
func (e *Environment) CAFile() string { return e.Dir.Path("ca.crt") }

// KubeconfigFile is the kubeconfig of a cluster's administrator.
func (e *Environment) KubeconfigFile(cluster string) string {
	return e.Dir.Path("clusters", cluster, "admin.kubeconfig")
}

// NodeFile joins elements below the folder that a cluster's API server sees:
// relative to the environment's folder, for Dir.Read and Dir.Write.
func NodeFile(cluster string, elements ...string) []string {
	return append([]string{"clusters", cluster, "node"}, elements...)
}

// OwnerOf is the state folder, and the name, of the environment whose cluster
// has files as its NodeFile folder.
func OwnerOf(files string) (home state.Home, name string) {
	folder := filepath.Dir(filepath.Dir(filepath.Dir(files)))
	return state.Home(filepath.Dir(folder)), filepath.Base(folder)
}

// Log is the log of one part of an `up`, such as helm-dex.
func (e *Environment) Log(part string) *state.LogFile {
	return &state.LogFile{Path: e.Dir.Path("logs", part+".log")}
}

// CA reads the environment's CA, which a step of `up` creates.
func (e *Environment) CA() (*trust.CA, error) { return e.readCA("ca", "CA") }

// GRPCCA reads the CA of Dex's gRPC API, which nobody else trusts.
func (e *Environment) GRPCCA() (*trust.CA, error) {
	return e.readCA("grpc-ca", "CA of Dex's gRPC API")
}

func (e *Environment) readCA(file, what string) (*trust.CA, error) {
	cert, certErr := e.Dir.Read(file + ".crt")
	key, keyErr := e.Dir.Read(file + ".key")
	if err := errors.Join(certErr, keyErr); err != nil {
		return nil, fmt.Errorf("could not read the environment's %s: %w", what, err)
	}
	ca, err := trust.ParseCA(cert, key)
	if err != nil {
		return nil, failure.New(failure.Prerequisite, fmt.Errorf("%s and %s do not belong together: %w", e.Dir.Path(file+".crt"), e.Dir.Path(file+".key"), err),
			"put back the files that devenv wrote",
			"or recreate the environment, its data will be lost: devenv up --recreate"+record.NameFlag(e.Name())+e.Record.Arguments)
	}
	return ca, nil
}

// Admin is the administrator's access to a cluster, from its kubeconfig.
func (e *Environment) Admin(cluster string) (*kube.Client, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if client := e.admins[cluster]; client != nil {
		return client, nil
	}
	text, err := os.ReadFile(e.KubeconfigFile(cluster))
	if err != nil {
		return nil, fmt.Errorf("could not read the kubeconfig of the cluster %q: %w", cluster, err)
	}
	client, err := kube.New(text)
	if err == nil {
		e.admins[cluster] = client
	}
	return client, err
}

// WriteAdminKubeconfig stores the kubeconfig of a cluster's administrator; from
// then on Admin uses it.
func (e *Environment) WriteAdminKubeconfig(cluster string, text []byte) (changed bool, err error) {
	changed, err = e.Dir.Write(text, "clusters", cluster, "admin.kubeconfig")
	if changed {
		e.mu.Lock()
		delete(e.admins, cluster)
		e.mu.Unlock()
	}
	return changed, err
}

// Package provision makes, proves and removes environments. It is a library:
// the commands of cmd/devenv do nothing that a Go program could not.
//
// This package is the front door, and each of its functions hands over to a
// room: README.md beside this file says which. What `up` does is the plan of a
// runtime: kindruntime/plan.go, processruntime/plan.go.
package provision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"regexp"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/session"
	"github.com/devenv-oidc/devenv/provision/state"
)

// DefaultName is the environment that commands mean when they name none.
const DefaultName = record.DefaultName

// Environment is one that has a record: being made, complete, or half deleted.
type Environment struct {
	env     *environment.Environment
	runtime Runtime
}

// Open returns an environment that exists, or an error of class Usage.
func Open(ctx context.Context, home state.Home, name string) (*Environment, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	r, err := record.Load(home.Dir(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, absent(ctx, home, name)
	}
	if err != nil {
		return nil, failure.New(failure.Usage, err, "delete it and create it again: devenv down"+record.NameFlag(name))
	}
	return newEnvironment(home, r), nil
}

func newEnvironment(home state.Home, r *record.Record) *Environment {
	runtime := runtimeNamed(r.Runtime)
	e := environment.New(home, r, runtime.Runtime)
	return &Environment{env: e, runtime: runtime.open(e)}
}

func absent(ctx context.Context, home state.Home, name string) error {
	all, unknown := lost(ctx, home)
	if left := all[name]; left != nil {
		return failure.New(failure.Usage, left,
			"delete them: devenv down"+record.NameFlag(name),
			"or replace them by a new environment: devenv up --recreate"+record.NameFlag(name))
	}
	if unknown != nil {
		return fmt.Errorf("there is no record of an environment %q: %w", name, unknown)
	}
	err := failure.Newf(failure.Usage, "there is no environment %q", name)
	if names, listErr := home.Names(); listErr == nil {
		if near := profiles.Nearest(name, names); near != "" {
			return err.Hint("did you mean devenv --name %s?", near)
		}
	}
	return err.Hint("create it with: devenv up%s", record.NameFlag(name))
}

var namePattern = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,18}[a-z0-9])?$`)

// checkName rejects names that cannot be part of a host name.
func checkName(name string) error {
	if !namePattern.MatchString(name) {
		return failure.Newf(failure.Usage, "%q is not a valid name for an environment", name).
			Hint("use at most 20 small letters, digits and dashes, starting with a letter")
	}
	return nil
}

// lock keeps other devenv processes off an environment until unlock is called.
func lock(ctx context.Context, home state.Home, name string) (unlock func(), err error) {
	unlock, err = home.Lock(ctx, name)
	var busy *state.BusyError
	if errors.As(err, &busy) {
		return nil, failure.New(failure.Prerequisite, err, "wait until it is done")
	}
	return unlock, err
}

// Issuer is the issuer's URL: the same from the host, from the API server,
// from pods and from other clusters.
func (e *Environment) Issuer() string { return e.env.Issuer() }

// IssuerAddress is the host:port by which this host reaches the issuer, however
// its resolver answers the name.
func (e *Environment) IssuerAddress() string { return e.env.IssuerAddress() }

// CAFile is the certificate of the environment's CA.
func (e *Environment) CAFile() string { return e.env.CAFile() }

// IssuerCAFile holds the CA that vouches for the issuer: the environment's, or
// that of an external issuer; empty where every machine trusts it anyway.
func (e *Environment) IssuerCAFile() string { return e.env.IssuerCAFile() }

// KubeconfigFile is the kubeconfig of a cluster's administrator.
func (e *Environment) KubeconfigFile(cluster string) string { return e.env.KubeconfigFile(cluster) }

// HTTPClient trusts the environment's CA alone, and finds the issuer and the
// endpoints where the host's resolver does not know their names.
func (e *Environment) HTTPClient() (*http.Client, error) { return e.env.IssuerClient() }

// UserKubeconfigFile is the kubeconfig that `up` writes for the first
// user.
func (e *Environment) UserKubeconfigFile() string { return session.UserKubeconfigFile(e.env) }

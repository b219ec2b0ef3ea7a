package steps

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/plan"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/session"
)

// DexImage is the image of the Dex that the profile asks for.
func DexImage(e *environment.Environment) profiles.ImagePin {
	return e.Record.Pins.DexImage(e.Spec().Dex.Version)
}

// DexSettings are what Dex's configuration is made from; certificate is the
// fingerprint of the one it serves.
func DexSettings(e *environment.Environment, certificate string) identity.Settings {
	dex := e.Spec().Dex
	return identity.Settings{
		Issuer: e.Issuer(), Dex: dex, Image: DexImage(e), Certificate: certificate,
		ClientCredentials: e.Record.Pins.DexHas(dex.Version, session.GrantClientCredentials),
	}
}

// WaitForIssuer waits until the issuer's discovery document can be read from
// the host, by the issuer's own URL and verified. wait calls ask until it
// returns nil or Dex has failed.
func WaitForIssuer(e *environment.Environment, wait func(ctx context.Context, ask func(context.Context) error) error) plan.Ensure {
	return func(ctx context.Context) (bool, error) {
		client, err := e.IssuerClient()
		if err != nil {
			return false, err
		}
		var foreign error
		err = wait(ctx, func(ctx context.Context) error {
			err := identity.Discover(ctx, client, e.Issuer())
			if errors.As(err, &x509.UnknownAuthorityError{}) { // no waiting makes it another
				foreign = failure.New(failure.Prerequisite, fmt.Errorf("the certificate of the issuer %s is not signed by %s: %w", e.Issuer(), e.CAFile(), err),
					"put back the ca.crt and ca.key that devenv wrote",
					"or recreate the environment, its data will be lost: devenv up --recreate"+record.NameFlag(e.Name())+e.Record.Arguments)
				return nil
			}
			return err
		})
		return false, errors.Join(err, foreign)
	}
}

// ForwardDexAdmin opens a way to Dex's gRPC API, until stop is called.
type ForwardDexAdmin func(ctx context.Context) (address string, stop func(), err error)

// Seed creates or corrects the profile's clients and users in Dex.
func Seed(e *environment.Environment, forward ForwardDexAdmin) plan.Ensure {
	return func(ctx context.Context) (changed bool, err error) {
		admin, err := e.Admin(e.First().Name)
		if err != nil {
			return false, err
		}
		dex, closeDex, err := dexAdmin(ctx, e, admin, forward)
		if err != nil {
			return false, err
		}
		defer closeDex()
		wanted, err := session.Clients(e)
		if err != nil {
			return false, err
		}
		clients, err := dex.EnsureClients(ctx, wanted)
		if err != nil {
			return clients, err
		}
		users, err := dex.EnsureUsers(ctx, e.Spec().Dex.Users)
		if clients || users { // cached tokens can hold what is no longer so
			err = errors.Join(err, session.ForgetTokens(e))
		}
		return clients || users, err
	}
}

// dexAdmin connects to Dex's gRPC API with a client certificate made for this
// one connection.
func dexAdmin(ctx context.Context, e *environment.Environment, admin *kube.Client, forward ForwardDexAdmin) (dex *identity.Admin, closeDex func(), err error) {
	ca, err := e.GRPCCA()
	if err != nil {
		return nil, nil, err
	}
	pair, err := ca.ClientPair(time.Hour, "devenv")
	if err != nil {
		return nil, nil, err
	}
	certificate, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		return nil, nil, err
	}
	address, stop, err := forward(ctx)
	if err != nil {
		return nil, nil, err
	}
	dex, err = identity.Connect(admin, address, identity.Credentials{Server: ca.Pool(), Client: certificate})
	if err != nil {
		stop()
		return nil, nil, err
	}
	return dex, func() { dex.Close(); stop() }, nil
}

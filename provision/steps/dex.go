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
func DexSettings(e *environment.Environment, certificate string) (identity.Settings, error) {
	dex := e.Spec().Dex
	connectors, err := environment.Fill(e, dex.Connectors)
	values, valuesErr := environment.Fill(e, dex.Values)
	if err := errors.Join(err, valuesErr); err != nil {
		return identity.Settings{}, fmt.Errorf("could not fill in spec.dex: %w", err)
	}
	dex.Connectors, dex.Values = connectors, values
	return identity.Settings{
		Issuer: e.Issuer(), Dex: dex, Image: DexImage(e), Certificate: certificate, BesideAPIServer: e.First().Workers == 0,
		ClientCredentials: e.Record.Pins.DexHas(dex.Version, session.GrantClientCredentials),
	}, nil
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

// Seed creates or corrects the profile's clients and users in Dex, and deletes
// those that devenv made and the profile does not have.
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
		if changed, err = seed(ctx, e, dex); changed { // cached tokens can hold what is no longer so
			err = errors.Join(err, session.ForgetTokens(e))
		}
		return changed, err
	}
}

func seed(ctx context.Context, e *environment.Environment, dex *identity.Admin) (changed bool, err error) {
	clients, err := session.Clients(e)
	if err != nil {
		return false, err
	}
	users := e.Spec().Dex.Users
	parts := []plan.Ensure{
		func(ctx context.Context) (bool, error) { return dex.EnsureClients(ctx, clients) },
		func(ctx context.Context) (bool, error) { return ensureUsers(ctx, e, dex) },
	}
	if !e.NoPrune {
		parts = append(parts,
			func(ctx context.Context) (bool, error) { return dex.PruneClients(ctx, clients) },
			func(ctx context.Context) (bool, error) { return dex.PruneUsers(ctx, users) })
	}
	for _, part := range parts {
		did, err := part(ctx)
		if changed = changed || did; err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// hashesFile remembers which hashes are of which passwords.
const hashesFile = "password-hashes.json"

func ensureUsers(ctx context.Context, e *environment.Environment, dex *identity.Admin) (changed bool, err error) {
	text, _ := e.Dir.Read(hashesFile) // without it, all are computed again
	hashes := identity.ReadHashes(text)
	if changed, err = dex.EnsureUsers(ctx, e.Spec().Dex.Users, hashes); err != nil {
		return changed, err
	}
	if text, err = hashes.Text(); err == nil {
		_, err = e.Dir.Write(text, hashesFile)
	}
	return changed, err
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

package processruntime

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/chart"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/plan"
	"github.com/devenv-oidc/devenv/provision/process"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/steps"
	"github.com/devenv-oidc/devenv/provision/trust"
)

// servingLifetime is the longest that every client accepts
// (https://support.apple.com/en-us/103769); `up` renews it in its last third.
const servingLifetime = 825 * 24 * time.Hour

// dex is Dex's process.
func (r *Runtime) dex() *process.Process {
	return &process.Process{
		Folder: string(r.env.Dir), Name: identity.Program, Program: r.program(identity.Program),
		Args: []string{identity.Program, "serve", r.env.Dir.Path("dex", identity.ConfigFile)},
		// a dollar sign in a path is none of a variable (dex, cmd/dex/config.go)
		Env: []string{"DEX_EXPAND_ENV=false"},
	}
}

// startDex starts Dex. Its storage is in the first cluster's API server, the
// same objects as with kind.
func (r *Runtime) startDex(c profiles.Cluster) plan.Ensure {
	return func(ctx context.Context) (changed bool, err error) {
		admin, err := r.env.Admin(c.Name)
		if err != nil {
			return false, err
		}
		made, err := admin.EnsureNamespace(ctx, identity.Namespace)
		if err != nil {
			return made, err
		}
		applied, err := admin.Apply(ctx, append(identity.CRDs(), identity.StorageAccess()...)...)
		if err != nil {
			return made || applied, err
		}
		written, inputs, err := r.writeDexFiles(c)
		changed = made || applied || written
		if err != nil {
			return changed, err
		}
		if err := r.waitForStorage(ctx, admin); err != nil {
			return changed, err
		}
		if has, err := identity.HasKeys(ctx, admin); err != nil {
			return changed, err
		} else if !has { // it makes them when it starts
			if _, err := r.dex().Stop(ctx); err != nil {
				return changed, err
			}
		}
		started, err := r.runDex(ctx, inputs)
		return changed || started, err
	}
}

// waitForStorage waits until Dex's kubeconfig reads and writes Dex's objects.
func (r *Runtime) waitForStorage(ctx context.Context, admin *kube.Client) error {
	if err := identity.SettleCRDs(ctx, admin); err != nil {
		return err
	}
	text, err := r.env.Dir.Read("dex", identity.KubeconfigFile)
	if err != nil {
		return err
	}
	user, err := kube.New(text)
	if err != nil {
		return err
	}
	return identity.WaitForStorage(ctx, user)
}

// writeDexFiles writes what Dex reads when it starts; inputs is a fingerprint
// of all that.
func (r *Runtime) writeDexFiles(c profiles.Cluster) (changed bool, inputs string, err error) {
	settings, err := steps.DexSettings(r.env, "")
	if err != nil {
		return false, "", err
	}
	config, err := identity.ProgramConfig(settings,
		r.env.Dir.Path("dex"), r.env.Record.IssuerPort, r.internalPort(DexAdminPort))
	if err != nil {
		return false, "", err
	}
	if own, ok := settings.Dex.Values["config"].(map[string]any); ok {
		config = chart.Overlay(config, own)
	}
	text, err := yaml.Marshal(config)
	if err != nil {
		return false, "", err
	}
	configured, err := r.env.Dir.Write(text, "dex", identity.ConfigFile)
	if err != nil {
		return false, "", err
	}
	issued, err := r.ensureDexPairs()
	if err != nil {
		return configured, "", err
	}
	if !r.opens(identity.KubeconfigFile, c) {
		kubeconfig, err := r.handle(c.Name).ClientKubeconfig(identity.User, identity.Namespace)
		if err != nil {
			return configured || issued, "", err
		}
		if _, err := r.env.Dir.Write(kubeconfig, "dex", identity.KubeconfigFile); err != nil {
			return configured || issued, "", err
		}
	}
	var all []byte
	for _, name := range []string{identity.ConfigFile, identity.KubeconfigFile, identity.ServingPair + ".crt", identity.GRPCPair + ".crt"} {
		content, err := r.env.Dir.Read("dex", name)
		if err != nil {
			return configured || issued, "", err
		}
		all = append(all, content...)
	}
	return configured || issued, trust.Fingerprint(all), nil
}

// opens says whether Dex's kubeconfig is one for the cluster as it is: one that
// was recreated has another CA.
func (r *Runtime) opens(file string, c profiles.Cluster) bool {
	text, err := r.env.Dir.Read("dex", file)
	if err != nil {
		return false
	}
	dex, dexErr := kube.New(text)
	admin, adminErr := r.env.Admin(c.Name)
	return errors.Join(dexErr, adminErr) == nil && bytes.Equal(dex.Config.CAData, admin.Config.CAData)
}

func (r *Runtime) ensureDexPairs() (changed bool, err error) {
	ca, err := r.env.CA()
	if err != nil {
		return false, err
	}
	served, err := r.ensurePair(ca, identity.ServingPair, servingLifetime, r.env.IssuerHost())
	if err != nil {
		return served, err
	}
	grpcCA, err := r.env.GRPCCA()
	if err != nil {
		return served, err
	}
	if _, err := r.env.Dir.Write(grpcCA.CertPEM, "dex", identity.GRPCClientCA); err != nil {
		return served, err
	}
	grpc, err := r.ensurePair(grpcCA, identity.GRPCPair, trust.Lifetime, identity.GRPCServerName)
	return served || grpc, err
}

// ensurePair signs a server certificate, unless there is one that is valid for
// another third of its lifetime.
func (r *Runtime) ensurePair(ca *trust.CA, name string, lifetime time.Duration, host string) (changed bool, err error) {
	if have, err := r.env.Dir.Read("dex", name+".crt"); err == nil && ca.Signed(have, host, lifetime/3) {
		return false, nil
	}
	pair, err := ca.ServerPair(lifetime, host)
	if err != nil {
		return false, err
	}
	if _, err := r.env.Dir.Write(pair.KeyPEM, "dex", name+".key"); err != nil {
		return false, err
	}
	return r.env.Dir.Write(pair.CertPEM, "dex", name+".crt")
}

// RenewCertificate restarts Dex with a new pair.
func (r *Runtime) RenewCertificate(ctx context.Context) error {
	if _, err := r.findPrograms(ctx); err != nil {
		return err
	}
	if err := os.Remove(r.env.Dir.Path("dex", identity.ServingPair+".crt")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_, err := r.startDex(r.env.First())(ctx)
	return err
}

// runDex starts the process, or restarts it where its inputs are others, and
// connects whoever waits at its port.
func (r *Runtime) runDex(ctx context.Context, inputs string) (changed bool, err error) {
	r.mu.Lock()
	line := r.line
	r.line = nil
	r.mu.Unlock()
	if line != nil {
		line.Release()
		defer func() {
			if err != nil {
				line.Drop()
			}
		}()
	}
	dex := r.dex()
	dex.Inputs = inputs
	if changed, err = dex.Ensure(ctx); err != nil {
		return changed, err
	}
	address := record.Loopback(r.env.Record.IssuerPort)
	if err := dex.WaitFor(ctx, "Dex on "+address, func(ctx context.Context) error { return process.Listens(ctx, address) }); err != nil {
		return changed, err
	}
	if line != nil {
		err = line.Connect(ctx)
	}
	return changed, err
}

// waitForIssuer asks until the issuer answers, or Dex has ended.
func (r *Runtime) waitForIssuer(ctx context.Context, ask func(context.Context) error) error {
	return r.dex().WaitFor(ctx, "the issuer "+r.env.Issuer(), ask)
}

// dexAdminAddress is where Dex's gRPC API listens; nothing needs forwarding.
func (r *Runtime) dexAdminAddress(context.Context) (address string, stop func(), err error) {
	return record.Loopback(r.internalPort(DexAdminPort)), func() {}, nil
}

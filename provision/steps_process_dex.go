package provision

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/chart"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/process"
	"github.com/devenv-oidc/devenv/provision/trust"
)

// servingLifetime is the longest that every client accepts
// (https://support.apple.com/en-us/103769); `up` renews it in its last third.
const servingLifetime = 825 * 24 * time.Hour

// ensureDex starts Dex. Its state is in the first cluster's API server, in the
// same objects as with kind.
func (p *processRuntime) ensureDex(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	admin, err := p.admin(c.Name)
	if err != nil {
		return false, err
	}
	namespace := kube.Object{"apiVersion": "v1", "kind": "Namespace", "metadata": kube.Object{"name": identity.Namespace, "labels": kube.ManagedLabels()}}
	applied, err := admin.Apply(ctx, append(append([]kube.Object{namespace}, identity.CRDs()...), identity.StorageAccess()...)...)
	if err != nil {
		return applied, err
	}
	written, inputs, err := p.writeDexFiles(c)
	if err != nil {
		return applied || written, err
	}
	if err := identity.SettleCRDs(ctx, admin); err != nil {
		return applied || written, err
	}
	text, err := p.dir.Read("dex", identity.KubeconfigFile)
	if err != nil {
		return applied || written, err
	}
	dexUser, err := kube.New(text)
	if err != nil {
		return applied || written, err
	}
	if err := identity.WaitForStorage(ctx, dexUser); err != nil {
		return applied || written, err
	}
	started, err := p.startDex(ctx, inputs)
	return applied || written || started, p.explain(err)
}

// writeDexFiles writes what Dex reads when it starts; inputs is a fingerprint
// of all that.
func (p *processRuntime) writeDexFiles(c profiles.Cluster) (changed bool, inputs string, err error) {
	config, err := identity.ProgramConfig(p.dexSettings(""),
		p.dir.Path("dex"), p.record.IssuerPort, p.record.InternalPorts[dexAdminPort])
	if err != nil {
		return false, "", err
	}
	if own, ok := p.record.Profile.Spec.Dex.Values["config"].(map[string]any); ok {
		config = chart.Overlay(config, own)
	}
	text, err := yaml.Marshal(config)
	if err != nil {
		return false, "", err
	}
	configured, err := p.dir.Write(text, "dex", identity.ConfigFile)
	if err != nil {
		return false, "", err
	}
	issued, err := p.ensureDexPairs()
	if err != nil {
		return configured, "", err
	}
	if !p.opens(identity.KubeconfigFile, c) {
		kubeconfig, err := p.handle(c).ClientKubeconfig(identity.User, identity.Namespace)
		if err != nil {
			return configured || issued, "", err
		}
		if _, err := p.dir.Write(kubeconfig, "dex", identity.KubeconfigFile); err != nil {
			return configured || issued, "", err
		}
	}
	var all []byte
	for _, name := range []string{identity.ConfigFile, identity.KubeconfigFile, identity.ServingPair + ".crt", identity.GRPCPair + ".crt"} {
		content, err := p.dir.Read("dex", name)
		if err != nil {
			return configured || issued, "", err
		}
		all = append(all, content...)
	}
	return configured || issued, trust.Fingerprint(all), nil
}

// opens says whether Dex's kubeconfig is one for the cluster as it is: one that
// was given up and made anew has another authority.
func (p *processRuntime) opens(file string, c profiles.Cluster) bool {
	text, err := p.dir.Read("dex", file)
	if err != nil {
		return false
	}
	dex, dexErr := kube.New(text)
	admin, adminErr := p.admin(c.Name)
	return errors.Join(dexErr, adminErr) == nil && bytes.Equal(dex.Config.CAData, admin.Config.CAData)
}

func (p *processRuntime) ensureDexPairs() (changed bool, err error) {
	authority, err := p.authority()
	if err != nil {
		return false, err
	}
	served, err := p.ensurePair(authority, identity.ServingPair, servingLifetime, p.issuerHost())
	if err != nil {
		return served, err
	}
	administration, err := p.grpcAuthority()
	if err != nil {
		return served, err
	}
	if _, err := p.dir.Write(administration.CertPEM, "dex", identity.GRPCClientCA); err != nil {
		return served, err
	}
	administered, err := p.ensurePair(administration, identity.GRPCPair, trust.Lifetime, identity.GRPCServerName)
	return served || administered, err
}

// ensurePair signs a server certificate, unless there is one that is good for
// another third of its life.
func (p *processRuntime) ensurePair(authority *trust.Authority, name string, lifetime time.Duration, host string) (changed bool, err error) {
	if text, err := p.dir.Read("dex", name+".crt"); err == nil {
		if block, _ := pem.Decode(text); block != nil {
			if have, err := x509.ParseCertificate(block.Bytes); err == nil && time.Until(have.NotAfter) > lifetime/3 && have.VerifyHostname(host) == nil {
				return false, nil
			}
		}
	}
	pair, err := authority.ServerPair(lifetime, host)
	if err != nil {
		return false, err
	}
	if _, err := p.dir.Write(pair.KeyPEM, "dex", name+".key"); err != nil {
		return false, err
	}
	return p.dir.Write(pair.CertPEM, "dex", name+".crt")
}

func (p *processRuntime) startDex(ctx context.Context, inputs string) (changed bool, err error) {
	p.mu.Lock()
	line := p.line
	p.line = nil
	p.mu.Unlock()
	if line != nil {
		line.Release()
		defer func() {
			if err != nil {
				line.Drop()
			}
		}()
	}
	dex := p.dex()
	dex.Inputs = inputs
	if changed, err = dex.Ensure(ctx); err != nil {
		return changed, err
	}
	address := loopback(p.record.IssuerPort)
	if err := dex.WaitFor(ctx, "Dex on "+address, func(ctx context.Context) error { return process.Listens(ctx, address) }); err != nil {
		return changed, err
	}
	if line != nil {
		err = line.Connect(ctx)
	}
	return changed, err
}

package provision

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/authentication"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/trust"
)

// ensureTrust makes the two authorities: the one that everybody trusts, and a
// private one for Dex's gRPC API, so that nobody who gets certificates from
// the first becomes Dex's administrator.
func (e *Environment) ensureTrust(context.Context) (changed bool, err error) {
	made, err := e.ensureAuthority("devenv "+e.record.Name, e.runtime.constraint(), "ca")
	if err != nil {
		return made, err
	}
	madeGRPC, err := e.ensureAuthority("devenv "+e.record.Name+" Dex administration", trust.Anything, "grpc-ca")
	return made || madeGRPC, err
}

// authenticationFile is below the folder that the API server sees. It has a
// folder of its own, because it is replaced and not written over.
const authenticationFile = "authentication/config.yaml"

// ensureConfiguration writes what a cluster's API server trusts, where that is
// not said by flags. One that runs reads it anew by itself. Another cluster as
// an issuer is left out while its authority is not known: a step that comes
// after that cluster's API server writes the file again.
func (e *Environment) ensureConfiguration(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	if c.Trust.Configuration == nil {
		return false, nil
	}
	text, err := e.configuration(c)
	if err != nil {
		return false, err
	}
	file := filepath.Join("clusters", c.Name, "node", authenticationFile)
	have, err := e.dir.Read(file)
	if err == nil && bytes.Equal(have, text) {
		return false, nil
	}
	reloads, running := e.reloads(ctx, c)
	if _, writeErr := e.dir.Write(text, file); writeErr != nil {
		return false, writeErr
	}
	if !running || err != nil { // one that was started without a file does not look for it
		return true, nil
	}
	var refused error
	err = kube.Poll(ctx, "the API server to read "+e.dir.Path(file)+" anew", func(ctx context.Context) error {
		now, _ := e.reloads(ctx, c)
		switch {
		case now.failed > reloads.failed:
			refused = failure.Newf(failure.Provisioning, "the API server refused %s, and goes on with the one before", e.dir.Path(file)).
				Hint("see why in its log: devenv logs%s", nameFlag(e.record.Name))
			return nil
		case now.done > reloads.done:
			return nil
		}
		return errors.New("it has not yet")
	})
	if err = errors.Join(err, refused); err != nil { // or the next up would find what nobody uses
		_, restoreErr := e.dir.Write(have, file)
		err = errors.Join(err, restoreErr)
	}
	return true, err
}

// configuration is a cluster's AuthenticationConfiguration.
func (e *Environment) configuration(c profiles.Cluster) ([]byte, error) {
	ca, err := e.dir.Read("ca.crt")
	if err != nil {
		return nil, err
	}
	known := authentication.Known{Dex: authentication.Issuer{URL: e.Issuer(), CAPEM: string(ca)}, Clusters: e.clusterIssuers(c.Trust)}
	return authentication.Render(c.Trust.Configuration, known, c.KubernetesVersion)
}

// clusterIssuers are the clusters that are trusted, as far as they are known.
func (e *Environment) clusterIssuers(t profiles.Trust) map[string]authentication.Issuer {
	known := map[string]authentication.Issuer{}
	for _, name := range t.Issuers() {
		admin, err := e.admin(name)
		if err != nil {
			continue
		}
		known[name] = authentication.Issuer{URL: e.runtime.server(*e.record.Profile.Cluster(name)), CAPEM: string(admin.Config.CAData)}
	}
	return known
}

// reloads are how often an API server has read its configuration anew.
type reloads struct{ done, failed float64 }

// reloads asks a cluster's API server, if it runs (k8s.io/apiserver,
// pkg/server/options/authenticationconfig/metrics).
func (e *Environment) reloads(ctx context.Context, c profiles.Cluster) (counted reloads, running bool) {
	admin, err := e.admin(c.Name)
	if err != nil {
		return reloads{}, false
	}
	text, err := admin.Core.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return reloads{}, false
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "apiserver_authentication_config_controller_automatic_reloads_total{") {
			continue
		}
		value, _ := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndex(line, " "):]), 64)
		if strings.Contains(line, `status="success"`) {
			counted.done = value
		} else {
			counted.failed = value
		}
	}
	return counted, true
}

func (e *Environment) ensureAuthority(name string, constraint trust.Constraint, file string) (changed bool, err error) {
	if _, err := os.Stat(e.dir.Path(file + ".key")); err == nil {
		return false, nil
	}
	authority, err := trust.NewAuthority(name, constraint)
	if err != nil {
		return false, err
	}
	if _, err := e.dir.Write(authority.CertPEM, file+".crt"); err != nil {
		return false, err
	}
	return e.dir.Write(authority.KeyPEM, file+".key")
}

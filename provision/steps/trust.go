package steps

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/authentication"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/plan"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/trust"
)

// CreateCAs creates the two certificate authorities: the one that everybody
// trusts, and a private one for Dex's gRPC API, so that nobody who gets
// certificates from the first becomes Dex's administrator.
func CreateCAs(e *environment.Environment) (changed bool, err error) {
	made, err := createCA(e, "devenv "+e.Name(), e.Runtime.Constraint(e.Name()), "ca")
	if err != nil {
		return made, err
	}
	madeGRPC, err := createCA(e, "devenv "+e.Name()+" Dex administration", trust.Anything, "grpc-ca")
	if err != nil {
		return made || madeGRPC, err
	}
	madeIssuer, err := e.WriteIssuerCA()
	if err != nil {
		return made, err
	}
	made = made || madeIssuer
	_, caErr := e.CA() // files that somebody replaced are named now, and not by what fails later
	_, grpcErr := e.GRPCCA()
	return made || madeGRPC, errors.Join(caErr, grpcErr)
}

func createCA(e *environment.Environment, name string, constraint trust.Constraint, file string) (changed bool, err error) {
	if _, err := os.Stat(e.Dir.Path(file + ".key")); err == nil {
		return false, nil
	}
	ca, err := trust.NewCA(name, constraint)
	if err != nil {
		return false, err
	}
	if _, err := e.Dir.Write(ca.CertPEM, file+".crt"); err != nil {
		return false, err
	}
	return e.Dir.Write(ca.KeyPEM, file+".key")
}

// AuthenticationFile is the AuthenticationConfiguration's place below the
// folder that an API server sees. It has a folder of its own, because it is
// replaced and not written over.
const AuthenticationFile = "authentication/config.yaml"

// APIServerFlags are kube-apiserver's flags, without dashes, by which a cluster
// trusts issuers and acts as an issuer itself. The API server sees the CA of the
// environment's issuer as caFile, empty for those that it trusts anyway, and its
// AuthenticationConfiguration as configFile.
func APIServerFlags(e *environment.Environment, c profiles.Cluster, caFile, configFile string) map[string]string {
	flags := map[string]string{}
	if c.PublicIssuer {
		flags["service-account-issuer"] = e.Server(c.Name)
		flags["service-account-jwks-uri"] = e.Server(c.Name) + "/openid/v1/jwks"
	}
	f := c.Trust.Flags
	if f == nil {
		flags["authentication-config"] = configFile
		return flags
	}
	flags["oidc-issuer-url"], flags["oidc-client-id"] = e.Issuer(), f.ClientID
	for name, value := range map[string]string{
		"oidc-ca-file":         caFile,
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

// ConfigureAuthentication writes the file with the issuers that a cluster's API
// server trusts, where flags do not say so. One that runs reloads it. Another
// cluster as an issuer is left out while its CA is not known: a step after that
// cluster's API server writes the file again.
func ConfigureAuthentication(e *environment.Environment, c profiles.Cluster) plan.Ensure {
	return func(ctx context.Context) (changed bool, err error) {
		if c.Trust.Configuration == nil {
			return false, nil
		}
		text, err := AuthenticationConfiguration(e, c)
		if err != nil {
			return false, err
		}
		file := environment.NodeFile(c.Name, AuthenticationFile)
		have, readErr := e.Dir.Read(file...)
		if readErr == nil && bytes.Equal(have, text) {
			return false, nil
		}
		before, running := countReloads(ctx, e, c)
		if _, err := e.Dir.Write(text, file...); err != nil {
			return false, err
		}
		if !running || readErr != nil { // one that was started without a file does not look for it
			return true, nil
		}
		err = waitForReload(ctx, e, c, e.Dir.Path(file...), before)
		if err != nil { // else the next up would take the new file for the one in use
			_, restoreErr := e.Dir.Write(have, file...)
			err = errors.Join(err, restoreErr)
		}
		return true, err
	}
}

// waitForReload waits until the API server uses its file, or has rejected it.
func waitForReload(ctx context.Context, e *environment.Environment, c profiles.Cluster, path string, before reloads) error {
	var rejected error
	err := kube.Poll(ctx, "the API server to reload "+path, func(ctx context.Context) error {
		now, _ := countReloads(ctx, e, c)
		switch {
		case now.failed > before.failed:
			rejected = failure.Newf(failure.Provisioning, "the API server rejected %s, and goes on with the one before", path).
				Hint("see why in its log: devenv logs%s", record.NameFlag(e.Name()))
			return nil
		case now.done > before.done:
			return nil
		}
		return errors.New("it has not yet")
	})
	return errors.Join(err, rejected)
}

// AuthenticationConfiguration is a cluster's, as the API server reads it.
func AuthenticationConfiguration(e *environment.Environment, c profiles.Cluster) ([]byte, error) {
	ca, err := e.IssuerCA()
	if err != nil {
		return nil, err
	}
	known := authentication.Known{Own: authentication.Issuer{URL: e.Issuer(), CAPEM: string(ca)}, Clusters: clusterIssuers(e, c.Trust)}
	configuration, err := e.TrustConfiguration(c)
	if err != nil {
		return nil, err
	}
	return authentication.Render(configuration, known, c.KubernetesVersion)
}

// clusterIssuers are the clusters that are trusted, as far as they are known.
func clusterIssuers(e *environment.Environment, t profiles.Trust) map[string]authentication.Issuer {
	known := map[string]authentication.Issuer{}
	for _, name := range t.Issuers() {
		if admin, err := e.Admin(name); err == nil {
			known[name] = authentication.Issuer{URL: e.Server(name), CAPEM: string(admin.Config.CAData)}
		}
	}
	return known
}

// reloads are how often an API server has reloaded its configuration.
type reloads struct{ done, failed float64 }

// countReloads asks a cluster's API server, if it runs (k8s.io/apiserver,
// pkg/server/options/authenticationconfig/metrics).
func countReloads(ctx context.Context, e *environment.Environment, c profiles.Cluster) (counted reloads, running bool) {
	admin, err := e.Admin(c.Name)
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

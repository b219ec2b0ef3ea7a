package provision

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/access"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/trust"
)

// ensureNode makes a cluster's node run, or where it has none its control
// plane.
func (e *Environment) ensureNode(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	changed, err = e.cluster(c).Boot(ctx)
	if changed {
		err = errors.Join(err, e.forgetTokens()) // a new Dex has new keys
	}
	return changed, e.explain(err)
}

// ensureAPIServer waits for the API server, not for kind, which goes on for
// some seconds more.
func (e *Environment) ensureAPIServer(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	kubeconfig, err := e.cluster(c).WaitForAPIServer(ctx)
	if err != nil {
		return false, e.explain(err)
	}
	changed, err = e.dir.Write(kubeconfig, "clusters", c.Name, "admin.kubeconfig")
	if changed { // who read the one before has the wrong one
		e.mu.Lock()
		delete(e.admins, c.Name)
		e.mu.Unlock()
	}
	return changed, err
}

func (e *Environment) ensureCluster(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	changed, err = e.cluster(c).Finish(ctx)
	return changed, e.explain(err)
}

func (e *Environment) ensureAccess(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	admin, err := e.admin(c.Name)
	if err != nil {
		return false, err
	}
	return access.Ensure(ctx, admin, c.Access, c.PublicIssuer)
}

func (e *Environment) grpcAuthority() (*trust.Authority, error) {
	cert, certErr := e.dir.Read("grpc-ca.crt")
	key, keyErr := e.dir.Read("grpc-ca.key")
	if err := errors.Join(certErr, keyErr); err != nil {
		return nil, fmt.Errorf("could not read the authority of Dex's gRPC API: %w", err)
	}
	return trust.ParseAuthority(cert, key)
}

// dexAdmin connects to Dex's gRPC API with a client certificate made for this
// one connection.
func (e *Environment) dexAdmin(ctx context.Context, admin *kube.Client) (dex *identity.Admin, close func(), err error) {
	authority, err := e.grpcAuthority()
	if err != nil {
		return nil, nil, err
	}
	pair, err := authority.ClientPair(time.Hour, "devenv")
	if err != nil {
		return nil, nil, err
	}
	certificate, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		return nil, nil, err
	}
	address, stop, err := e.runtime.forwardDexAdmin(ctx)
	if err != nil {
		return nil, nil, err
	}
	dex, err = identity.Connect(admin, address, identity.Credentials{Server: authority.Pool(), Client: certificate})
	if err != nil {
		stop()
		return nil, nil, err
	}
	return dex, func() { dex.Close(); stop() }, nil
}

// ensureIssuer waits until the issuer's discovery document can be had from the
// host, by its own URL and verified.
func (e *Environment) ensureIssuer(ctx context.Context) (changed bool, err error) {
	client, err := e.issuerClient()
	if err != nil {
		return false, err
	}
	return false, e.explain(e.runtime.waitForIssuer(ctx, func(ctx context.Context) error { return discover(ctx, client, e.Issuer()) }))
}

// discover reads the discovery document and makes sure it is this issuer's
// (OpenID Connect Discovery 1.0, section 4.3).
func discover(ctx context.Context, client *http.Client, issuer string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, issuer+"/.well-known/openid-configuration", nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	var document struct {
		Issuer string `json:"issuer"`
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	if err := json.Unmarshal(body, &document); err != nil {
		return err
	}
	if document.Issuer != issuer {
		return fmt.Errorf("it says it is %s", document.Issuer)
	}
	return nil
}

func (e *Environment) ensureSeed(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	admin, err := e.admin(c.Name)
	if err != nil {
		return false, err
	}
	dex, close, err := e.dexAdmin(ctx, admin)
	if err != nil {
		return false, err
	}
	defer close()
	wanted, err := e.clients()
	if err != nil {
		return false, err
	}
	clients, err := dex.EnsureClients(ctx, wanted)
	if err != nil {
		return clients, err
	}
	users, err := dex.EnsureUsers(ctx, e.record.Profile.Spec.Dex.Users)
	if clients || users {
		err = errors.Join(err, e.forgetTokens()) // they may say what is no longer so
	}
	return clients || users, err
}

// ensureToken waits for what matters: a token of the first user is accepted
// (the first whose e-mail is verified, or it never would be).
// The API server looks for the issuer every 10 s until it finds it (k8s.io/
// apiserver, plugin/pkg/authenticator/token/oidc), and says nowhere that it
// has: only a token tells.
func (e *Environment) ensureToken(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	users := e.acceptedUsers(c)
	if len(users) == 0 { // it does not trust Dex
		return false, nil
	}
	login, err := e.login(ctx, c, users[0])
	if err != nil {
		return false, err
	}
	target, err := e.checkCluster(c)
	if err != nil {
		return false, err
	}
	return false, kube.Poll(ctx, "the API server to accept a token of "+login.Email, func(ctx context.Context) error {
		return target.Accepts(ctx, login)
	})
}

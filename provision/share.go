package provision

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"syscall"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/jwt"
	"github.com/devenv-oidc/devenv/provision/share"
)

// ShareRequest asks to serve kubeconfigs to whoever logs in.
type ShareRequest struct {
	Cluster string // that the link names; the first that can be shared when empty
	// Ready is told the link once it can be followed, and Failed what goes wrong
	// later.
	Ready  func(link string)
	Failed func(error)
}

// Share serves kubeconfigs until the context ends.
func (e *Environment) Share(ctx context.Context, r ShareRequest) error {
	s := e.record.Profile.Spec.Share
	if s == nil {
		return failure.Newf(failure.Usage, "the profile %s shares nothing: it has no spec.share", e.record.Profile.Metadata.Name).
			Hint("name a client: %s --set spec.share.client=ID", e.upAgain())
	}
	p := &sharing{e}
	clusters := p.clusters()
	if r.Cluster == "" {
		r.Cluster = clusters[0]
	}
	if !slices.Contains(clusters, r.Cluster) {
		return failure.Newf(failure.Usage, "cluster %q does not take tokens for the client %q", r.Cluster, s.Client).Hint("choose one of: %v", clusters)
	}
	certificate, err := e.shareCertificate()
	if err != nil {
		return err
	}
	if err := e.askIssuer(ctx); err != nil {
		return failure.New(failure.Provisioning, fmt.Errorf("the issuer does not answer: %w", err), "start or repair it: "+e.upAgain())
	}
	listener, err := net.Listen("tcp", loopback(e.record.SharePort))
	if errors.Is(err, syscall.EADDRINUSE) {
		return failure.New(failure.Prerequisite, fmt.Errorf("port %d on 127.0.0.1 is taken", e.record.SharePort), "end what listens there: another devenv share, perhaps")
	}
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: share.Handler(s.Path, p, r.Failed), ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	r.Ready(e.shareURL() + "?" + url.Values{"cluster": {r.Cluster}}.Encode())
	if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// shareURL is the link, and the redirect URI of its logins.
func (e *Environment) shareURL() string {
	return fmt.Sprintf("https://%s:%d%s", e.runtime.host("share"), e.record.SharePort, e.record.Profile.Spec.Share.Path)
}

// shareCertificate is good for as long as somebody may leave it running.
func (e *Environment) shareCertificate() (tls.Certificate, error) {
	authority, err := e.authority()
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := authority.ServerPair(30*24*time.Hour, e.runtime.host("share"))
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
}

// clients are the profile's, without placeholders, and where kubeconfigs are
// shared, with what comes back from their logins.
func (e *Environment) clients() ([]profiles.Client, error) {
	list := slices.Clone(e.record.Profile.Spec.Dex.Clients)
	for i, c := range list {
		filled, err := fill(e, c.RedirectURIs)
		if err != nil {
			return nil, err
		}
		list[i].RedirectURIs = filled
	}
	if s := e.record.Profile.Spec.Share; s != nil {
		for i, c := range list {
			if c.ID == s.Client {
				list[i].RedirectURIs = append(c.RedirectURIs, e.shareURL())
			}
		}
	}
	return list, nil
}

// sharing is Dex as package share sees it.
type sharing struct{ e *Environment }

// clusters are those that take tokens for the client.
func (s *sharing) clusters() []string {
	var names []string
	for _, c := range s.e.record.Profile.Spec.Clusters {
		if c.Trust.Dex().ClientID == s.e.record.Profile.Spec.Share.Client {
			names = append(names, c.Name)
		}
	}
	return names
}

func (s *sharing) login() (identity.Login, error) {
	transport, err := s.e.issuerClient()
	if err != nil {
		return identity.Login{}, err
	}
	client := s.e.record.Profile.Client(s.e.record.Profile.Spec.Share.Client)
	return identity.Login{Issuer: s.e.Issuer(), HTTP: transport, Client: *client}, nil
}

// Begin implements share.Provider.
func (s *sharing) Begin(cluster string) (share.Login, string, error) {
	if !slices.Contains(s.clusters(), cluster) {
		return share.Login{}, "", fmt.Errorf("there is no cluster %q to share", cluster)
	}
	login, err := s.login()
	if err != nil {
		return share.Login{}, "", err
	}
	code := identity.NewCode(s.e.shareURL())
	return share.Login{State: code.State, Nonce: code.Nonce, Verifier: code.Verifier, Cluster: cluster}, login.CodeURL(code), nil
}

// Kubeconfig implements share.Provider.
func (s *sharing) Kubeconfig(ctx context.Context, began share.Login, code string) (user string, kubeconfig []byte, err error) {
	login, err := s.login()
	if err != nil {
		return "", nil, err
	}
	tokens, err := login.Exchange(ctx, identity.Code{RedirectURI: s.e.shareURL(), State: began.State, Nonce: began.Nonce, Verifier: began.Verifier}, code)
	if err != nil {
		return "", nil, err
	}
	claims, err := jwt.Claims(tokens.ID)
	if err != nil {
		return "", nil, err
	}
	user, _ = claims["email"].(string)
	config, err := s.e.tokenKubeconfig(*s.e.record.Profile.Cluster(began.Cluster), user, tokens.ID)
	if err != nil {
		return "", nil, err
	}
	text, err := clientcmd.Write(*config)
	return user, text, err
}

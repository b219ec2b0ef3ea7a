package session

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
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/jwt"
	"github.com/devenv-oidc/devenv/provision/record"
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
func Share(ctx context.Context, e *environment.Environment, r ShareRequest) error {
	s := e.Spec().Share
	if s == nil && e.External() {
		return failure.Newf(failure.Usage, "the profile %s shares nothing, and with spec.issuer it cannot: a link needs Dex", e.Record.Profile.Metadata.Name).
			Hint("give a kubeconfig in another way: devenv kubeconfig --flavor kubelogin%s", record.NameFlag(e.Name()))
	}
	if s == nil {
		return failure.Newf(failure.Usage, "the profile %s shares nothing: it has no spec.share", e.Record.Profile.Metadata.Name).
			Hint("name a client: %s --set spec.share.client=ID", e.Record.UpAgain())
	}
	p := &sharing{e}
	clusters := p.clusters()
	if r.Cluster == "" {
		r.Cluster = clusters[0]
	}
	if !slices.Contains(clusters, r.Cluster) {
		return failure.Newf(failure.Usage, "cluster %q does not accept tokens for the client %q", r.Cluster, s.Client).Hint("choose one of: %v", clusters)
	}
	certificate, err := shareCertificate(e)
	if err != nil {
		return err
	}
	if err := AskIssuer(ctx, e); err != nil {
		return failure.New(failure.Provisioning, fmt.Errorf("the issuer does not answer: %w", err), "start or repair it: "+e.Record.UpAgain())
	}
	listener, err := net.Listen("tcp", record.Loopback(e.Record.SharePort))
	if errors.Is(err, syscall.EADDRINUSE) {
		return failure.New(failure.Prerequisite, fmt.Errorf("port %d on 127.0.0.1 is taken", e.Record.SharePort), "end what listens there: another devenv share, perhaps")
	}
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: share.Handler(s.Path, p, r.Failed), ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	r.Ready(shareURL(e) + "?" + url.Values{"cluster": {r.Cluster}}.Encode())
	if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// shareURL is the link, and the redirect URI of its logins.
func shareURL(e *environment.Environment) string {
	return fmt.Sprintf("https://%s:%d%s", e.Host("share"), e.Record.SharePort, e.Spec().Share.Path)
}

// shareCertificate is valid for 30 days, longer than anybody leaves it running.
func shareCertificate(e *environment.Environment) (tls.Certificate, error) {
	ca, err := e.CA()
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := ca.ServerPair(30*24*time.Hour, e.Host("share"))
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
}

// Clients are the profile's as Dex must have them: without placeholders, and
// where kubeconfigs are shared, with the redirect URI of those logins.
func Clients(e *environment.Environment) ([]profiles.Client, error) {
	list := slices.Clone(e.Spec().Dex.Clients)
	for i, c := range list {
		filled, err := environment.Fill(e, c.RedirectURIs)
		if err != nil {
			return nil, err
		}
		if s := e.Spec().Share; s != nil && c.ID == s.Client {
			filled = append(filled, shareURL(e))
		}
		list[i].RedirectURIs = filled
	}
	return list, nil
}

// sharing is Dex as package share sees it.
type sharing struct{ e *environment.Environment }

// clusters are those that accept tokens for the client.
func (s *sharing) clusters() []string {
	var names []string
	for _, c := range s.e.Spec().Clusters {
		if c.Trust.Provider().ClientID == s.e.Spec().Share.Client {
			names = append(names, c.Name)
		}
	}
	return names
}

func (s *sharing) login() (identity.Login, error) {
	provider, err := s.e.Provider()
	if err != nil {
		return identity.Login{}, err
	}
	client := s.e.Record.Profile.Client(s.e.Spec().Share.Client)
	return identity.Login{Provider: provider, Client: *client}, nil
}

// Begin implements share.Provider.
func (s *sharing) Begin(ctx context.Context, cluster string) (share.Login, string, error) {
	if !slices.Contains(s.clusters(), cluster) {
		return share.Login{}, "", fmt.Errorf("there is no cluster %q to share", cluster)
	}
	login, err := s.login()
	if err != nil {
		return share.Login{}, "", err
	}
	code := identity.NewCode(shareURL(s.e))
	address, err := login.CodeURL(ctx, code)
	return share.Login{State: code.State, Nonce: code.Nonce, Verifier: code.Verifier, Cluster: cluster}, address, err
}

// Kubeconfig implements share.Provider.
func (s *sharing) Kubeconfig(ctx context.Context, began share.Login, code string) (user string, kubeconfig []byte, err error) {
	login, err := s.login()
	if err != nil {
		return "", nil, err
	}
	tokens, err := login.Exchange(ctx, identity.Code{RedirectURI: shareURL(s.e), State: began.State, Nonce: began.Nonce, Verifier: began.Verifier}, code)
	if err != nil {
		return "", nil, err
	}
	claims, err := jwt.Claims(tokens.ID)
	if err != nil {
		return "", nil, err
	}
	user, _ = claims["email"].(string)
	config, err := TokenKubeconfig(s.e, *s.e.Record.Profile.Cluster(began.Cluster), user, tokens.ID)
	if err != nil {
		return "", nil, err
	}
	text, err := clientcmd.Write(*config)
	return user, text, err
}

package environment

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/record"
)

// External says whether somebody else runs the issuer: then there is no Dex, and
// nothing of the issuer is devenv's to change.
func (e *Environment) External() bool { return e.Spec().Issuer != nil }

// Issuer is the issuer's URL: the same from the host, from the API server,
// from pods and from other clusters.
func (e *Environment) Issuer() string {
	if x := e.Spec().Issuer; x != nil {
		return x.URL
	}
	return fmt.Sprintf("https://%s:%d", e.IssuerHost(), e.Record.IssuerPort)
}

// IssuerHost is the issuer's DNS name, the same for everybody.
func (e *Environment) IssuerHost() string {
	if x := e.Spec().Issuer; x != nil {
		return hostAndPort(x.URL).Hostname()
	}
	return e.Host("dex")
}

// IssuerAddress is the host:port by which this host reaches the issuer: for Dex
// one that needs no resolver.
func (e *Environment) IssuerAddress() string {
	if x := e.Spec().Issuer; x != nil {
		u := hostAndPort(x.URL)
		return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "443"))
	}
	return record.Loopback(e.Record.IssuerPort)
}

// hostAndPort reads a URL that package profiles has found valid.
func hostAndPort(text string) *url.URL {
	u, err := url.Parse(text)
	if err != nil {
		return &url.URL{}
	}
	return u
}

// externalCA is the file with the CA of an external issuer.
const externalCA = "issuer-ca.crt"

// IssuerCAFile holds the CA that vouches for the issuer; empty where each machine
// trusts it anyway.
func (e *Environment) IssuerCAFile() string {
	switch x := e.Spec().Issuer; {
	case x == nil:
		return e.CAFile()
	case x.CA == "":
		return ""
	}
	return e.Dir.Path(externalCA)
}

// IssuerCA is the text of IssuerCAFile, PEM; empty where there is none.
func (e *Environment) IssuerCA() ([]byte, error) {
	if x := e.Spec().Issuer; x != nil {
		return []byte(x.CA), nil
	}
	return e.Dir.Read("ca.crt")
}

// IssuerProxy is the proxy through which this host reaches an external issuer; ""
// where it needs none.
func (e *Environment) IssuerProxy() string {
	if !e.External() {
		return ""
	}
	request, err := http.NewRequest(http.MethodGet, e.Issuer(), nil)
	if err != nil {
		return ""
	}
	proxy, err := http.ProxyFromEnvironment(request)
	if err != nil || proxy == nil {
		return ""
	}
	return proxy.Redacted()
}

// WriteIssuerCA stores the CA of an external issuer.
func (e *Environment) WriteIssuerCA() (changed bool, err error) {
	if x := e.Spec().Issuer; x != nil && x.CA != "" {
		return e.Dir.Write([]byte(x.CA), externalCA)
	}
	return false, nil
}

// IssuerRoots are the certificates that vouch for the issuer; nil for those of
// this machine.
func (e *Environment) IssuerRoots() (*x509.CertPool, error) {
	if x := e.Spec().Issuer; x != nil {
		if x.CA == "" {
			return nil, nil
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM([]byte(x.CA))
		return pool, nil
	}
	ca, err := e.CA()
	if err != nil {
		return nil, err
	}
	return ca.Pool(), nil
}

// IssuerClient speaks https to the issuer and to endpoints. Where these are the
// environment's own it trusts the environment's CA alone and dials the loopback,
// so that it needs no resolver.
func (e *Environment) IssuerClient() (*http.Client, error) {
	roots, err := e.IssuerRoots()
	if err != nil {
		return nil, err
	}
	if e.External() {
		if roots, err = e.withOwnCA(roots); err != nil {
			return nil, err
		}
	}
	own := map[string]string{}
	if !e.External() {
		own[net.JoinHostPort(e.IssuerHost(), fmt.Sprint(e.Record.IssuerPort))] = e.IssuerAddress()
	}
	for name, port := range e.Record.EndpointPorts {
		own[net.JoinHostPort(e.Host(name), fmt.Sprint(port))] = record.Loopback(port)
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true, // Dex's pod may be replaced between two calls
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, cmp.Or(own[address], address))
		},
	}
	if e.External() { // a company's may be behind a proxy, and no endpoint of the environment's is
		transport.Proxy = func(r *http.Request) (*url.URL, error) {
			if own[r.URL.Host] != "" {
				return nil, nil
			}
			return http.ProxyFromEnvironment(r)
		}
	}
	return &http.Client{Timeout: 15 * time.Second, Transport: transport}, nil
}

// withOwnCA adds the environment's CA, which vouches for endpoints, to the roots of
// an external issuer.
func (e *Environment) withOwnCA(roots *x509.CertPool) (*x509.CertPool, error) {
	if roots == nil {
		var err error
		if roots, err = x509.SystemCertPool(); err != nil {
			roots = x509.NewCertPool()
		}
	}
	own, err := e.Dir.Read("ca.crt")
	if err != nil {
		return nil, fmt.Errorf("could not read the environment's CA: %w", err)
	}
	roots.AppendCertsFromPEM(own)
	return roots, nil
}

// Provider is the issuer, for logins.
func (e *Environment) Provider() (*identity.Provider, error) {
	client, err := e.IssuerClient()
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.provider == nil {
		e.provider = identity.NewProvider(e.Issuer(), client)
	}
	return e.provider.Through(client), nil
}

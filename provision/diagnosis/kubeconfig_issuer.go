package diagnosis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/jwt"
)

// nowhere is what hops say that have no issuer to ask.
var nowhere = warning(notVisible+"nobody names an issuer that this host finds", "")

func (v *visitor) nameResolution(ctx context.Context) finding {
	if v.issuer == nil {
		return nowhere
	}
	host := v.issuer.Hostname()
	if below := strings.HasSuffix(host, ".localhost"); below {
		return ok(host + " is this host's loopback; how the API server resolves it is not visible")
	}
	addresses, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil { // the API server is the one that must, and may
		v.issuer = nil
		return warning(fmt.Sprintf("this host does not resolve %s: %v", host, err), "see whether the API server does: look for \"oidc\" in its log")
	}
	return ok(fmt.Sprintf("this host resolves %s to %s; how the API server does is not visible", v.issuer.Hostname(), strings.Join(addresses, ", ")))
}

func (v *visitor) tcp(ctx context.Context) finding {
	if v.issuer == nil {
		return nowhere
	}
	conn, err := dialLoopback(ctx, "tcp", hostPort(v.issuer))
	if err != nil {
		return failed(fmt.Sprintf("nothing answers on %s: %v", hostPort(v.issuer), err), "start the provider, or correct the issuer")
	}
	conn.Close()
	return ok("something listens on " + hostPort(v.issuer))
}

func (v *visitor) tls(ctx context.Context) finding {
	if v.issuer == nil {
		return nowhere
	}
	conn, err := dialLoopback(ctx, "tcp", hostPort(v.issuer))
	if err != nil {
		return failed(err.Error(), "start the provider, or correct the issuer")
	}
	defer conn.Close()
	err = tls.Client(conn, &tls.Config{ServerName: v.issuer.Hostname(), MinVersion: tls.VersionTLS12}).HandshakeContext(ctx)
	var unknown *tls.CertificateVerificationError
	switch {
	case errors.As(err, &unknown):
		v.unverified = true
		return warning(fmt.Sprintf("this host's CAs do not verify the issuer: %v", unknown.Err), "the API server needs its CA: --oidc-ca-file, now "+orUnset(v.flags["oidc-ca-file"]))
	case err != nil:
		return failed(fmt.Sprintf("the issuer speaks no TLS: %v", err), "the issuer must be https")
	}
	return ok("this host's CAs verify the issuer")
}

// dialLoopback dials names below localhost as browsers do (RFC 6761, section
// 6.3), and everything else as it is.
func dialLoopback(ctx context.Context, network, address string) (net.Conn, error) {
	if host, port, err := net.SplitHostPort(address); err == nil && strings.HasSuffix(host, ".localhost") {
		address = net.JoinHostPort("127.0.0.1", port)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

func orUnset(value string) string {
	if value == "" {
		return "unset"
	}
	return value
}

// asker speaks to the issuer; where this host's CAs do not verify it, without
// verifying: what it says is compared, and nothing secret is sent.
func (v *visitor) asker() *http.Client {
	return &http.Client{Timeout: hopLimit, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: v.unverified, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true, DialContext: dialLoopback,
	}}
}

func (v *visitor) discovery(ctx context.Context) finding {
	if v.issuer == nil {
		return nowhere
	}
	if err := identity.Discover(ctx, v.asker(), v.issuer.String()); err != nil {
		return failed(fmt.Sprintf("the discovery document of %s: %v", v.issuer, err), "the issuer in the API server's flags must be the very string of the document")
	}
	return ok("the discovery document names " + v.issuer.String())
}

func (v *visitor) keys(ctx context.Context) finding {
	if v.issuer == nil {
		return nowhere
	}
	published, err := identity.PublishedKeys(ctx, v.asker(), v.issuer.String())
	if err != nil || len(published) == 0 {
		return failed(fmt.Sprintf("the issuer publishes no keys: %v", err), "see the provider's log")
	}
	if v.token == "" {
		return ok(fmt.Sprintf("%d published", len(published)))
	}
	if id := jwt.KeyID(v.token); !slices.Contains(published, id) {
		return failed(fmt.Sprintf("the token was signed with the key %q, which the issuer does not publish", id), "get a new token: the issuer has changed its keys, or this is another's")
	}
	return ok(fmt.Sprintf("%d published, the token's among them", len(published)))
}

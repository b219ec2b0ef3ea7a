package diagnosis

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/identity"
)

// issuer looks at Dex itself: its pods, or its process.
func (d *login) issuer(ctx context.Context) finding {
	if !d.Environment.Runtime.Pods {
		for _, p := range d.runtime.Processes() {
			if p.Name == dexProcess && p.State != "running" {
				return failed("the process dex is "+p.State, d.again()).withLog(p.LastLines)
			}
		}
		return ok("the process dex runs")
	}
	admin, err := d.Admin(d.First().Name)
	if err != nil {
		return failed(err.Error(), d.again())
	}
	deployment, err := admin.Core.AppsV1().Deployments(identity.Namespace).Get(ctx, identity.Release, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return failed("there is no Deployment dex/dex", d.again())
	case err != nil:
		return failed(fmt.Sprintf("could not read the Deployment dex/dex: %v", err), d.again())
	case deployment.Spec.Replicas != nil && *deployment.Spec.Replicas == 0:
		return failed("the Deployment dex/dex is scaled to 0", d.again())
	}
	if err := admin.Available(ctx, identity.Namespace, identity.Release); err != nil {
		return failed("Dex's pod does not run: "+err.Error(), d.again()).withLog(d.dexLog(ctx))
	}
	service, namespace, _ := strings.Cut(strings.TrimSuffix(identity.ServiceHost, ".svc.cluster.local"), ".")
	if _, err := admin.Core.CoreV1().Services(namespace).Get(ctx, service, metav1.GetOptions{}); err != nil {
		return failed(fmt.Sprintf("could not read the issuer's Service %s/%s: %v", namespace, service, err), d.again())
	}
	return ok("Dex's pod runs, and has its Service")
}

func (d *login) tcp(ctx context.Context) finding {
	if proxy := d.IssuerProxy(); proxy != "" {
		return warning("not looked at: the issuer is reached through the proxy "+proxy, "")
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", d.IssuerAddress())
	if err != nil {
		return failed(fmt.Sprintf("nothing answers on %s: %v", d.IssuerAddress(), err), d.mendIssuer())
	}
	conn.Close()
	return ok("something listens on " + d.IssuerAddress())
}

// tls looks at what the issuer serves and at what each side trusts.
func (d *login) tls(ctx context.Context) finding {
	if proxy := d.IssuerProxy(); proxy != "" {
		return warning("not looked at: the issuer is reached through the proxy "+proxy, "")
	}
	roots, rootsErr := d.IssuerRoots()
	ca, err := d.IssuerCA()
	if err := errors.Join(rootsErr, err); err != nil {
		return failed(err.Error(), "put back ca.crt and ca.key in "+string(d.Dir)+", or: "+d.recreate())
	}
	if file, text := d.apiServersCA(); !bytes.Equal(text, ca) {
		return failed(fmt.Sprintf("the API server trusts another CA (%s) than %s", file, d.IssuerCAFile()), "put back the environment's ca.crt, or: "+d.recreate())
	}
	dialer := &tls.Dialer{Config: &tls.Config{ServerName: d.IssuerHost(), InsecureSkipVerify: true}} // verified below, for each reason
	conn, err := dialer.DialContext(ctx, "tcp", d.IssuerAddress())
	if err != nil {
		return failed(fmt.Sprintf("the issuer speaks no TLS: %v", err), d.mendIssuer()).withLog(d.dexLog(ctx))
	}
	defer conn.Close()
	chain := conn.(*tls.Conn).ConnectionState().PeerCertificates
	return d.verify(chain[0], roots, chain[1:])
}

func (d *login) verify(leaf *x509.Certificate, roots *x509.CertPool, rest []*x509.Certificate) finding {
	between := x509.NewCertPool()
	for _, c := range rest {
		between.AddCert(c)
	}
	validity := fmt.Sprintf("valid from %s to %s", leaf.NotBefore.Format(time.DateTime), leaf.NotAfter.Format(time.DateTime))
	switch now := time.Now(); {
	case now.After(leaf.NotAfter) || now.Before(leaf.NotBefore):
		return failed("the issuer's certificate is not valid now: "+validity, d.mendIssuer())
	case leaf.VerifyHostname(d.IssuerHost()) != nil:
		return failed(fmt.Sprintf("the issuer's certificate is for %s, and not for %s", strings.Join(leaf.DNSNames, ", "), d.IssuerHost()), d.mendIssuer())
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: d.IssuerHost()}); err != nil {
		return failed(fmt.Sprintf("the issuer's certificate does not verify with %s: %v", cmp.Or(d.IssuerCAFile(), "the CAs of this machine"), err), d.mendIssuer())
	}
	if time.Until(leaf.NotAfter) < 24*time.Hour {
		return warning("the issuer's certificate expires within a day: "+validity, d.mendIssuer())
	}
	return ok("the issuer's certificate verifies with its CA, " + validity)
}

// apiServersCA is the CA that the API server reads, and its file: with kind a
// copy that the node sees.
func (d *login) apiServersCA() (file string, text []byte) {
	if !d.Environment.Runtime.Pods {
		file = d.IssuerCAFile()
		text, _ = os.ReadFile(file)
		return file, text
	}
	elements := environment.NodeFile(d.cluster.Name, "ca.crt")
	text, _ = d.Dir.Read(elements...)
	return d.Dir.Path(elements...), text
}

func (d *login) discovery(ctx context.Context) finding {
	client, err := d.IssuerClient()
	if err != nil {
		return failed(err.Error(), d.mendIssuer())
	}
	if err := identity.Discover(ctx, client, d.Issuer()); err != nil {
		return failed(fmt.Sprintf("the discovery document of %s: %v", d.Issuer(), err), d.mendIssuer()).withLog(d.dexLog(ctx))
	}
	return ok("the discovery document names " + d.Issuer())
}

// keys compares the keys that Dex publishes with the one that it signs with.
func (d *login) keys(ctx context.Context) finding {
	client, err := d.IssuerClient()
	if err != nil {
		return failed(err.Error(), d.mendIssuer())
	}
	published, err := identity.PublishedKeys(ctx, client, d.Issuer())
	if err != nil {
		return failed(fmt.Sprintf("could not read the issuer's keys: %v", err), d.mendIssuer()).withLog(d.dexLog(ctx))
	}
	if len(published) == 0 {
		return failed("the issuer publishes no keys", d.mendIssuer())
	}
	if d.External() {
		return ok(fmt.Sprintf("%d published", len(published)))
	}
	admin, err := d.Admin(d.First().Name)
	if err != nil {
		return failed(err.Error(), d.again())
	}
	signer, err := identity.ReadSigner(ctx, admin)
	if err != nil {
		return warning(err.Error(), "")
	}
	if !slices.Contains(published, signer.KeyID()) {
		return failed("Dex signs with a key that it does not publish", d.mendIssuer())
	}
	return ok(fmt.Sprintf("%d published, the signing key among them", len(published)))
}

// How far clocks differ before tokens suffer: go-oidc and the API server allow
// none for the expiry, and a token lives for minutes at least.
const clockWarning, clockFailure = 10 * time.Second, 5 * time.Minute

// clock compares this machine's with the API server's.
func (d *login) clock(ctx context.Context) finding {
	admin, err := d.Admin(d.cluster.Name)
	if err != nil {
		return failed(err.Error(), d.again())
	}
	theirs, err := serverTime(ctx, admin.Config)
	if err != nil {
		return warning(err.Error(), "")
	}
	return compareClocks(time.Now(), theirs)
}

// serverTime is what an API server's answers are dated, to the second.
func serverTime(ctx context.Context, config *rest.Config) (time.Time, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return time.Time{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, config.Host+"/version", nil)
	if err != nil {
		return time.Time{}, err
	}
	response, err := client.Do(request)
	if err != nil {
		return time.Time{}, fmt.Errorf("could not ask the API server for its time: %w", err)
	}
	response.Body.Close()
	return http.ParseTime(response.Header.Get("Date"))
}

func compareClocks(ours, theirs time.Time) finding {
	difference := theirs.Sub(ours).Round(time.Second)
	detail := fmt.Sprintf("the API server's clock differs by %s", difference)
	switch {
	case difference.Abs() >= clockFailure:
		return failed(detail, "set the clocks: tokens expire by the API server's")
	case difference.Abs() >= clockWarning:
		return warning(detail, "set the clocks: tokens expire by the API server's")
	}
	return ok(detail)
}

// dexLog is the last line of Dex's log that says what went wrong.
func (d *login) dexLog(ctx context.Context) string {
	text := ""
	if d.External() {
		return ""
	}
	if d.Environment.Runtime.Pods {
		admin, err := d.Admin(d.First().Name)
		if err != nil {
			return ""
		}
		text = admin.LogOf(ctx, identity.Namespace, "app.kubernetes.io/name=dex", 200)
	} else if read, err := d.Dir.Read("logs", dexProcess+".log"); err == nil {
		text = string(read)
	}
	last := ""
	for line := range strings.Lines(text) {
		if strings.Contains(line, "level=ERROR") || strings.Contains(line, "level=WARN") || strings.HasPrefix(line, "error") || strings.Contains(line, "failed") {
			last = strings.TrimSpace(line)
		}
	}
	return last
}

package diagnosis

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/steps"
)

func (d *login) engine(ctx context.Context) finding {
	if err := d.runtime.Find(ctx); err != nil {
		return failed(err.Error(), strings.Join(failure.HintsOf(err), "; "))
	}
	return ok("it answers")
}

func (d *login) node(ctx context.Context) finding {
	state, err := d.runtime.State(ctx, d.cluster.Name)
	switch {
	case err != nil:
		return failed(err.Error(), strings.Join(failure.HintsOf(err), "; "))
	case state != "running":
		return failed(fmt.Sprintf("the node of cluster %s is %s", d.cluster.Name, state), d.again())
	}
	return ok("the node of cluster " + d.cluster.Name + " runs")
}

// processes are those of the control planes; Dex has a hop of its own.
func (d *login) processes(ctx context.Context) finding {
	if err := d.runtime.Find(ctx); err != nil {
		return failed(err.Error(), strings.Join(failure.HintsOf(err), "; "))
	}
	running := 0
	for _, p := range d.runtime.Processes() {
		switch {
		case p.Name == dexProcess:
		case p.State != "running":
			return failed(fmt.Sprintf("the process %s is %s", p.Name, p.State), d.again()).withLog(p.LastLines)
		default:
			running++
		}
	}
	return ok(fmt.Sprintf("%d processes of control planes run", running))
}

// dexProcess is Dex's among the runtime's processes.
const dexProcess = "dex"

func (d *login) apiServer(ctx context.Context) finding {
	admin, err := d.Admin(d.cluster.Name)
	if err != nil {
		return failed(err.Error(), d.again())
	}
	if _, err := admin.Core.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err != nil {
		return failed(fmt.Sprintf("the API server on %s is not ready: %v", admin.Config.Host, err), d.again()).withLog(d.lastError(ctx))
	}
	if _, err := admin.Core.CoreV1().Namespaces().Get(ctx, metav1.NamespaceDefault, metav1.GetOptions{}); err != nil {
		return failed(fmt.Sprintf("the API server on %s is not ready: it reads nothing from etcd: %v", admin.Config.Host, err), d.again()).withLog(d.lastError(ctx))
	}
	d.reachable = true
	return ok("ready on " + admin.Config.Host)
}

// apiServerFlags looks at the API server as it runs, not as devenv wrote it.
func (d *login) apiServerFlags(ctx context.Context) finding {
	have, want, err := d.runtime.APIServerFlags(ctx, d.cluster.Name)
	if err != nil {
		return failed(err.Error(), d.logs())
	}
	remedy := "put the flag back in /etc/kubernetes/manifests/kube-apiserver.yaml on the node, or: " + d.recreate()
	if d.Environment.Runtime.FlagsInPlace {
		remedy = d.again()
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if slices.Contains(have, name+"="+want[name]) {
			continue
		}
		for _, flag := range have {
			if value, is := strings.CutPrefix(flag, name+"="); is {
				return failed(fmt.Sprintf("the API server runs with --%s=%s, and not with %q", name, value, want[name]), remedy)
			}
		}
		return failed(fmt.Sprintf("the API server runs without --%s=%s", name, want[name]), remedy)
	}
	if d.cluster.Trust.Configuration == nil {
		return ok("it runs with the flags of the profile")
	}
	return d.authenticationFile()
}

func (d *login) authenticationFile() finding {
	want, err := steps.AuthenticationConfiguration(d.Environment, d.cluster)
	if err != nil {
		return failed(err.Error(), d.again())
	}
	file := environment.NodeFile(d.cluster.Name, steps.AuthenticationFile)
	have, err := d.Dir.Read(file...)
	if err != nil {
		return failed(fmt.Sprintf("could not read the AuthenticationConfiguration: %v", err), d.again())
	}
	if !bytes.Equal(have, want) {
		return failed("the AuthenticationConfiguration "+d.Dir.Path(file...)+" is not the profile's", d.again())
	}
	return ok("it runs with the AuthenticationConfiguration of the profile")
}

// nameResolution asks each side how it finds the issuer.
func (d *login) nameResolution(ctx context.Context) finding {
	host := d.IssuerHost()
	addresses, hostErr := net.DefaultResolver.LookupHost(ctx, host)
	byHost := fmt.Sprintf("this host resolves %s to %s", host, strings.Join(addresses, ", "))
	if hostErr != nil {
		byHost = fmt.Sprintf("this host's resolver does not know %s, and devenv dials %s itself", host, d.IssuerAddress())
	}
	if !d.Environment.Runtime.Pods { // the API server has the host's resolver
		if hostErr != nil || !slices.ContainsFunc(addresses, func(a string) bool { return net.ParseIP(a).IsLoopback() }) {
			return failed(byHost, "make the name localhost resolve to 127.0.0.1: see /etc/hosts")
		}
		return ok(byHost)
	}
	admin, err := d.Admin(d.cluster.Name)
	if err != nil {
		return failed(err.Error(), d.again())
	}
	pods, err := admin.Core.CoreV1().Pods("kube-system").List(ctx, metav1.ListOptions{LabelSelector: "component=kube-apiserver"})
	if err != nil || len(pods.Items) == 0 {
		return warning("the API server's pod cannot be seen; "+byHost, "")
	}
	for _, alias := range pods.Items[0].Spec.HostAliases {
		if slices.Contains(alias.Hostnames, host) {
			return ok(fmt.Sprintf("the API server resolves %s to %s; %s", host, alias.IP, byHost))
		}
	}
	return failed("the API server's pod has no hostAliases entry for "+host, d.recreate())
}

// externalNameResolution asks this host's resolver for an issuer that somebody
// else runs; whether a node finds it, its API server's log says.
func (d *login) externalNameResolution(ctx context.Context) finding {
	if proxy := d.IssuerProxy(); proxy != "" {
		return warning("not looked at: the issuer is reached through the proxy "+proxy, "")
	}
	addresses, err := net.DefaultResolver.LookupHost(ctx, d.IssuerHost())
	if err != nil {
		return failed(fmt.Sprintf("this host's resolver does not know the issuer: %v", err), "make it known to the resolver, or correct spec.issuer.url in the profile")
	}
	return ok(fmt.Sprintf("this host resolves %s to %s", d.IssuerHost(), strings.Join(addresses, ", ")))
}

// lastError is the last line of the API server's log that klog marks as an
// error.
func (d *login) lastError(ctx context.Context) string {
	return d.lastLine(ctx, func(text string) bool {
		return strings.HasPrefix(text, "E") || strings.Contains(text, " stderr F E") || strings.HasPrefix(text, "F")
	})
}

func (d *login) lastLine(ctx context.Context, is func(text string) bool) string {
	log, err := d.runtime.APIServerLog(ctx, d.cluster.Name)
	if err != nil {
		return ""
	}
	last := ""
	for line := range strings.Lines(log) {
		if _, text, _ := strings.Cut(line, " "); is(text) {
			last = strings.TrimSpace(line)
		}
	}
	return last
}

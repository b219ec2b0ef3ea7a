package kindruntime

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/plan"
	"github.com/devenv-oidc/devenv/provision/steps"
	"github.com/devenv-oidc/devenv/provision/trust"
)

// dnsAnnotation on CoreDNS's pods holds the fingerprint of the configuration
// they were started with: CoreDNS itself looks only every half minute.
const dnsAnnotation = "devenv.dev/corefile"

// configureDNS makes pods find the names of the issuer and of endpoints.
func (r *Runtime) configureDNS(c profiles.Cluster) plan.Ensure {
	return func(ctx context.Context) (changed bool, err error) {
		admin, err := r.env.Admin(c.Name)
		if err != nil {
			return false, err
		}
		config, err := waitForCoreDNS(ctx, admin)
		if err != nil {
			return false, err
		}
		corefile, err := withRules(config.Data["Corefile"], r.dnsRules(c))
		if err != nil {
			return false, err
		}
		if config.Data["Corefile"] != corefile {
			config.Data["Corefile"] = corefile
			if _, err := admin.Core.CoreV1().ConfigMaps("kube-system").Update(ctx, config, metav1.UpdateOptions{FieldManager: kube.FieldManager}); err != nil {
				return false, fmt.Errorf("could not change CoreDNS's Corefile: %w", err)
			}
			changed = true
		}
		rolled, err := admin.AnnotatePods(ctx, "kube-system", "coredns", dnsAnnotation, trust.Fingerprint([]byte(corefile)))
		if err != nil {
			return changed, err
		}
		return changed || rolled, admin.WaitAvailable(ctx, "kube-system", "coredns")
	}
}

// waitForCoreDNS waits for kubeadm's CoreDNS add-on: its configuration and its
// Deployment.
func waitForCoreDNS(ctx context.Context, admin *kube.Client) (config *corev1.ConfigMap, err error) {
	err = kube.Poll(ctx, "kubeadm to install CoreDNS", func(ctx context.Context) error {
		if config, err = admin.Core.CoreV1().ConfigMaps("kube-system").Get(ctx, "coredns", metav1.GetOptions{}); err != nil {
			return err
		}
		_, err = admin.Core.AppsV1().Deployments("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
		return err
	})
	return config, err
}

// serverBlock is the line that opens a server block of a Corefile, and not a
// snippet, whose name is in parentheses (https://coredns.io/manual/toc).
var serverBlock = regexp.MustCompile(`(?m)^[^\s#(}][^\n{]*\{[ \t]*(#[^\n]*)?$\n?`)

// withRules adds rules to the server block of a Corefile that answers for all
// names, or else to the first: those that it does not have.
func withRules(corefile string, rules []string) (string, error) {
	blocks := serverBlock.FindAllStringIndex(corefile, -1)
	if len(blocks) == 0 {
		return "", failure.Newf(failure.Provisioning, "could not read CoreDNS's Corefile: it has no server block").
			Hint("put one back, as in https://coredns.io/manual/toc: kubectl --namespace kube-system edit configmap coredns")
	}
	opened := blocks[0]
	if i := slices.IndexFunc(blocks, func(b []int) bool { return corefile[b[0]] == '.' }); i >= 0 {
		opened = blocks[i]
	}
	head, rest := corefile[:opened[1]], corefile[opened[1]:]
	for _, rule := range rules {
		if !strings.Contains(rest, strings.TrimSpace(rule)) {
			rest = rule + rest
		}
	}
	return head + rest, nil
}

// dnsRules are for the names of the issuer and of the endpoints. In the cluster
// where it runs, a name leads to the Service; in others, to the node with the
// port.
func (r *Runtime) dnsRules(c profiles.Cluster) []string {
	rule := func(host, service, home string) string {
		target := service
		if home != c.Name {
			target = r.node(home)
		}
		return fmt.Sprintf("    rewrite name exact %s %s\n", host, target)
	}
	rules := []string{rule(r.env.IssuerHost(), identity.ServiceHost, r.env.First().Name)}
	for _, x := range r.env.Spec().Endpoints {
		rules = append(rules, rule(r.env.Host(x.Name), steps.EndpointService(x)+"."+x.Namespace+".svc.cluster.local", x.Cluster))
	}
	return rules
}

package kindruntime

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

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

// dnsReplicas are as many as kubeadm has of CoreDNS.
const dnsReplicas = 2

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
		service, err := r.issuerService(ctx, admin, c) // before CoreDNS starts, or it would cache that there is none
		if err != nil {
			return changed, err
		}
		rolled, err := admin.AnnotatePods(ctx, "kube-system", "coredns", dnsAnnotation, trust.Fingerprint([]byte(corefile)))
		if err != nil {
			return changed, err
		}
		scaled, err := admin.EnsureScaled(ctx, "kube-system", "coredns", dnsReplicas) // a new cluster starts it with none
		if err != nil {
			return changed, err
		}
		forgot := false
		if !rolled && !scaled && service != nil {
			if forgot, err = forgetMissing(ctx, admin, service); err != nil {
				return changed, err
			}
		}
		err = admin.WaitAvailable(ctx, "kube-system", "coredns")
		if err == nil && forgot {
			err = waitForEnd(ctx, admin, service.CreationTimestamp)
		}
		return changed || rolled || scaled || forgot, err
	}
}

// issuerService makes sure that the Service exists to which the issuer's name
// leads; nil in a cluster where it leads elsewhere.
func (r *Runtime) issuerService(ctx context.Context, admin *kube.Client, c profiles.Cluster) (*corev1.Service, error) {
	if !r.env.IsFirst(c) || r.env.External() {
		return nil, nil
	}
	if _, err := admin.EnsureNamespace(ctx, identity.Namespace); err != nil {
		return nil, err
	}
	if _, err := r.applyIssuerService(ctx, admin); err != nil {
		return nil, err
	}
	name, _, _ := strings.Cut(identity.ServiceHost, ".")
	service, err := admin.Core.CoreV1().Services(identity.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("could not read the Service %s/%s: %w", identity.Namespace, name, err)
	}
	return service, nil
}

// applyIssuerService applies the issuer's Service, one call at a time: where two
// steps create it at once, the API server takes the second for another Service
// that wants the same node port, and rejects it.
func (r *Runtime) applyIssuerService(ctx context.Context, admin *kube.Client) (changed bool, err error) {
	r.applying.Lock()
	defer r.applying.Unlock()
	return admin.Apply(ctx, identity.IssuerService(r.env.Record.IssuerPort))
}

// serviceAnnotation on CoreDNS's pods holds the issuer's Service for which they
// were replaced.
const serviceAnnotation = "devenv.dev/issuer-service"

// denialLimit is longer than CoreDNS caches that a name does not exist: 30 s in
// kubeadm's Corefile.
const denialLimit = time.Minute

// forgetMissing replaces CoreDNS's pods where they are older than a Service that
// was created a moment ago: they may have cached that it does not exist.
func forgetMissing(ctx context.Context, admin *kube.Client, service *corev1.Service) (changed bool, err error) {
	created := service.CreationTimestamp
	if time.Since(created.Time) > denialLimit {
		return false, nil
	}
	pods, err := olderPods(ctx, admin, created)
	if err != nil {
		return false, err
	}
	for _, pod := range pods {
		if pod.DeletionTimestamp == nil {
			return admin.AnnotatePods(ctx, "kube-system", "coredns", serviceAnnotation, string(service.UID))
		}
	}
	return false, nil
}

// waitForEnd waits until no CoreDNS is left from before a moment: kube-proxy may
// still send somebody to one that is ending.
func waitForEnd(ctx context.Context, admin *kube.Client, created metav1.Time) error {
	return kube.Poll(ctx, "CoreDNS's earlier pods to end", func(ctx context.Context) error {
		pods, err := olderPods(ctx, admin, created)
		if err == nil && len(pods) > 0 {
			err = fmt.Errorf("%s is there", pods[0].Name)
		}
		return err
	})
}

// olderPods are CoreDNS's from before a moment, also those that are ending.
func olderPods(ctx context.Context, admin *kube.Client, moment metav1.Time) ([]corev1.Pod, error) {
	pods, err := admin.Core.CoreV1().Pods("kube-system").List(ctx, metav1.ListOptions{LabelSelector: "k8s-app=kube-dns"})
	if err != nil {
		return nil, fmt.Errorf("could not list CoreDNS's pods: %w", err)
	}
	return slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return !p.CreationTimestamp.Before(&moment) }), nil
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
// names, or else to the first: those that it does not have. Others for the same
// name are deleted.
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
		rest = withoutOthers(rest, rule)
		if !strings.Contains(rest, strings.TrimSpace(rule)) {
			rest = rule + rest
		}
	}
	return head + rest, nil
}

// withoutOthers deletes the rules that lead the name of a rule elsewhere.
func withoutOthers(corefile, rule string) string {
	wanted := strings.Fields(rule) // rewrite name exact NAME TARGET
	kept := ""
	for line := range strings.Lines(corefile) {
		words := strings.Fields(line)
		if len(words) == len(wanted) && slices.Equal(words[:4], wanted[:4]) && words[4] != wanted[4] {
			continue
		}
		kept += line
	}
	return kept
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
	var rules []string
	if !r.env.External() {
		rules = append(rules, rule(r.env.IssuerHost(), identity.ServiceHost, r.env.First().Name))
	}
	for _, x := range r.env.Spec().Endpoints {
		rules = append(rules, rule(r.env.Host(x.Name), steps.EndpointService(x)+"."+x.Namespace+".svc.cluster.local", x.Cluster))
	}
	return rules
}

package provision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/cluster"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/trust"
)

func (k *kindRuntime) ensureEngine(ctx context.Context) (changed bool, err error) {
	if err := k.find(ctx); err != nil {
		return false, err
	}
	if k.record.Engine == k.engine.Command {
		return false, nil
	}
	k.record.Engine = k.engine.Command
	return true, k.dir.Save(k.record)
}

func (k *kindRuntime) ensureNodeImage(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	pin := k.pins.NodeImages[c.KubernetesVersion]
	changed, err = k.engine.EnsureImage(ctx, pin.Image, pin.Archive)
	if err != nil && ctx.Err() == nil {
		return changed, failure.New(failure.Prerequisite, err, "fetch it yourself and run the command again: "+k.engine.Command+" pull "+pin.Image)
	}
	return changed, err
}

// ensureTrust also gives the API servers what they read at boot, before there
// is a cluster to hold it.
func (k *kindRuntime) ensureTrust(ctx context.Context) (changed bool, err error) {
	made, err := k.Environment.ensureTrust(ctx)
	if err != nil {
		return made, err
	}
	ca, err := k.dir.Read("ca.crt")
	if err != nil {
		return made, err
	}
	for _, c := range k.record.Profile.Spec.Clusters {
		copied, err := k.dir.Write(ca, "clusters", c.Name, "node", "ca.crt")
		if err != nil {
			return made, err
		}
		made = made || copied
	}
	return made, nil
}

// ensureNode looks at the ports of a new node itself: the engine would say
// which one is taken only after it made the container. The issuer is in the
// first cluster's node; those of the others relay to it.
func (k *kindRuntime) ensureNode(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	if state, err := k.cluster(c).State(ctx); err == nil && state == "absent" {
		for _, port := range append([]int{k.record.APIPorts[c.Name]}, k.spec(c).Ports...) {
			if !portFree(port) {
				return false, k.explain(&cluster.PortTakenError{Port: port})
			}
		}
	}
	changed, err = k.Environment.ensureNode(ctx, c)
	if err != nil || c.Name == k.first().Name {
		return changed, err
	}
	relayed, err := k.handle(c).Relay(ctx, k.record.IssuerPort, k.handle(k.first()).Node())
	return changed || relayed, err
}

// images are those that are put into a node. The check's pods run Dex's. Images
// that only the profile names are loaded where there is an archive: else the
// node gets them, and its pods say why it cannot.
func (k *kindRuntime) images(c profiles.Cluster) []cluster.Image {
	pins := []profiles.ImagePin{k.dexImage()}
	if c.Name == k.first().Name {
		pins = slices.AppendSeq(pins, maps.Values(k.pins.Charts["cert-manager"].Images))
	}
	for _, name := range profiles.UsedPlaceholders([]any{c.Objects, c.Charts}) {
		if image := k.pins.Images[strings.TrimPrefix(name, "images.")]; image.Archive != "" {
			pins = append(pins, image)
		}
	}
	var list []cluster.Image
	for _, pin := range pins {
		list = append(list, cluster.Image{Ref: pin.Ref(), Digest: pin.Digest, Archive: pin.Archive})
	}
	return list
}

func (k *kindRuntime) ensureImages(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	changed, err = k.handle(c).LoadImages(ctx, k.images(c))
	if err != nil && ctx.Err() == nil {
		return changed, failure.New(failure.Prerequisite, err, "where no registry is to be had, set DEVENV_SOURCES to a sources file; see the README")
	}
	return changed, err
}

// dnsAnnotation on CoreDNS's pods holds the fingerprint of the configuration
// they were started with: CoreDNS itself looks only every half minute.
const dnsAnnotation = "devenv.dev/corefile"

// ensureDNS makes pods find the names of the issuer and of endpoints.
func (k *kindRuntime) ensureDNS(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	admin, err := k.admin(c.Name)
	if err != nil {
		return false, err
	}
	configMaps := admin.Core.CoreV1().ConfigMaps("kube-system")
	var config *corev1.ConfigMap
	err = kube.Poll(ctx, "kubeadm to install CoreDNS", func(ctx context.Context) error {
		if config, err = configMaps.Get(ctx, "coredns", metav1.GetOptions{}); err != nil {
			return err
		}
		_, err = admin.Core.AppsV1().Deployments("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
		return err
	})
	if err != nil {
		return false, err
	}
	corefile := config.Data["Corefile"]
	head, rest, ok := strings.Cut(corefile, "{\n")
	if !ok {
		return false, fmt.Errorf("could not read CoreDNS's Corefile: it has no server block")
	}
	for _, rule := range k.dnsRules(c) {
		if !strings.Contains(rest, rule) {
			rest = rule + rest
		}
	}
	if corefile != head+"{\n"+rest {
		corefile = head + "{\n" + rest
		config.Data["Corefile"] = corefile
		if _, err := configMaps.Update(ctx, config, metav1.UpdateOptions{FieldManager: kube.FieldManager}); err != nil {
			return false, fmt.Errorf("could not change CoreDNS's Corefile: %w", err)
		}
		changed = true
	}
	rolled, err := annotatePods(ctx, admin, "kube-system", "coredns", dnsAnnotation, trust.Fingerprint([]byte(corefile)))
	if err != nil {
		return changed, err
	}
	return changed || rolled, admin.WaitAvailable(ctx, "kube-system", "coredns")
}

// dnsRules answer the names of the issuer and of the endpoints: where they run
// with their Service, and elsewhere with the node that has the port.
func (k *kindRuntime) dnsRules(c profiles.Cluster) []string {
	rule := func(host, service, home string) string {
		target := service
		if home != c.Name {
			target = k.handle(*k.record.Profile.Cluster(home)).Node()
		}
		return fmt.Sprintf("    rewrite name exact %s %s\n", host, target)
	}
	rules := []string{rule(k.issuerHost(), identity.ServiceHost, k.first().Name)}
	for _, x := range k.record.Profile.Spec.Endpoints {
		rules = append(rules, rule(k.host(x.Name), endpointService(x)+"."+x.Namespace+".svc.cluster.local", x.Cluster))
	}
	return rules
}

// annotatePods sets an annotation of a Deployment's pods, which replaces them
// if it is another.
func annotatePods(ctx context.Context, client *kube.Client, namespace, deployment, annotation, value string) (changed bool, err error) {
	deployments := client.Core.AppsV1().Deployments(namespace)
	have, err := deployments.Get(ctx, deployment, metav1.GetOptions{})
	if err == nil && have.Spec.Template.Annotations[annotation] == value {
		return false, nil
	}
	patch, marshalErr := json.Marshal(kube.Object{"spec": kube.Object{"template": kube.Object{"metadata": kube.Object{"annotations": kube.Object{annotation: value}}}}})
	if err := errors.Join(err, marshalErr); err != nil {
		return false, fmt.Errorf("could not read the Deployment %s/%s: %w", namespace, deployment, err)
	}
	if _, err := deployments.Patch(ctx, deployment, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: kube.FieldManager}); err != nil {
		return false, fmt.Errorf("could not change the Deployment %s/%s: %w", namespace, deployment, err)
	}
	return true, nil
}

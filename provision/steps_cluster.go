package provision

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/access"
	"github.com/devenv-oidc/devenv/provision/chart"
	"github.com/devenv-oidc/devenv/provision/cluster"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/trust"
)

func (e *Environment) ensureEngine(ctx context.Context) (changed bool, err error) {
	if err := e.findEngine(ctx); err != nil {
		return false, err
	}
	if e.record.Engine == e.engine.Command {
		return false, nil
	}
	e.record.Engine = e.engine.Command
	return true, e.dir.Save(e.record)
}

// ensureTrust makes the two authorities: the one that everybody trusts, and a
// private one for Dex's gRPC API, so that nobody who gets certificates from
// the first becomes Dex's administrator.
func (e *Environment) ensureTrust(context.Context) (changed bool, err error) {
	made, err := e.ensureAuthority("devenv "+e.record.Name, e.domain(), "ca")
	if err != nil {
		return made, err
	}
	madeGRPC, err := e.ensureAuthority("devenv "+e.record.Name+" Dex administration", "", "grpc-ca")
	if err != nil {
		return made, err
	}
	ca, err := e.dir.Read("ca.crt")
	if err != nil {
		return made, err
	}
	// the API server reads it at boot, before there is a cluster to hold it
	copied, err := e.dir.Write(ca, "clusters", e.record.Profile.Spec.Clusters[0].Name, "node", "ca.crt")
	return made || madeGRPC || copied, err
}

func (e *Environment) ensureAuthority(name, domain, file string) (changed bool, err error) {
	if _, err := os.Stat(e.dir.Path(file + ".key")); err == nil {
		return false, nil
	}
	authority, err := trust.NewAuthority(name, domain)
	if err != nil {
		return false, err
	}
	if _, err := e.dir.Write(authority.CertPEM, file+".crt"); err != nil {
		return false, err
	}
	return e.dir.Write(authority.KeyPEM, file+".key")
}

func (e *Environment) chartSource(name string) chart.Source {
	pin := e.pins.Charts[name]
	return chart.Source{Name: name, Repository: pin.Repository, Path: pin.Path, Version: pin.Version, SHA256: pin.SHA256}
}

func (e *Environment) chartCache() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("could not find the cache folder: %w", err)
	}
	return cache + "/devenv/charts", nil
}

// ensureCharts fetches charts while the cluster is being made: a wrong digest or
// a missing network ends `up` in its first second.
func (e *Environment) ensureCharts(context.Context) (changed bool, err error) {
	cache, err := e.chartCache()
	if err != nil {
		return false, err
	}
	for _, name := range []string{"dex", "cert-manager"} {
		if _, err := e.chartSource(name).Load(cache); err != nil {
			return false, failure.New(failure.Prerequisite, err, "where no network is to be had, set DEVENV_SOURCES to a sources file; see the README")
		}
	}
	return false, nil
}

func (e *Environment) ensureNodeImage(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	pin := e.pins.NodeImages[c.KubernetesVersion]
	changed, err = e.engine.EnsureImage(ctx, pin.Image, pin.Archive)
	if err != nil && ctx.Err() == nil {
		return changed, failure.New(failure.Prerequisite, err, "fetch it yourself and run the command again: "+e.engine.Command+" pull "+pin.Image)
	}
	return changed, err
}

func (e *Environment) ensureNode(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	handle := e.cluster(c)
	if state, err := handle.State(ctx); err == nil && state == "absent" {
		for _, port := range []int{e.record.IssuerPort, e.record.APIPorts[c.Name]} {
			if !portFree(port) {
				return false, e.explain(&cluster.PortTakenError{Port: port})
			}
		}
	}
	changed, err = handle.Boot(ctx)
	if changed {
		err = errors.Join(err, e.forgetTokens()) // a new Dex has new keys
	}
	return changed, e.explain(err)
}

// explain gives the cluster package's errors their class and hints.
func (e *Environment) explain(err error) error {
	var (
		taken        *cluster.PortTakenError
		notOurs      *cluster.NotOursError
		unprivileged *cluster.UnprivilegedError
	)
	name := nameFlag(e.record.Name)
	switch {
	case errors.As(err, &taken):
		other := "or let devenv choose other ports: devenv down" + name + " && devenv up" + name
		if taken.Port == e.record.Profile.Spec.Dex.Port {
			other = "or choose another one in the profile: spec.dex.port, 0 for any that is free"
		}
		return failure.New(failure.Prerequisite, err, fmt.Sprintf("see what listens there: ss -ltnp 'sport = :%d'", taken.Port), other)
	case errors.As(err, &notOurs):
		return failure.New(failure.Prerequisite, err,
			"devenv leaves it alone; choose another name: devenv up --name OTHER",
			"or delete it yourself: kind delete cluster --name "+notOurs.Name)
	case errors.As(err, &unprivileged):
		return failure.New(failure.Prerequisite, err, "the nodes of a cluster are privileged containers: run the engine where they are allowed")
	}
	return err
}

func (e *Environment) images() []cluster.Image {
	var list []cluster.Image
	for _, name := range []string{"dex", "cert-manager"} {
		for _, pin := range e.pins.Charts[name].Images {
			list = append(list, cluster.Image{Ref: pin.Ref(), Digest: pin.Digest, Archive: pin.Archive})
		}
	}
	return list
}

func (e *Environment) ensureImages(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	changed, err = e.cluster(c).LoadImages(ctx, e.images())
	if err != nil && ctx.Err() == nil {
		return changed, failure.New(failure.Prerequisite, err, "where no registry is to be had, set DEVENV_SOURCES to a sources file; see the README")
	}
	return changed, err
}

// ensureAPIServer waits for the API server, not for kind, which goes on for
// some seconds more.
func (e *Environment) ensureAPIServer(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	kubeconfig, err := e.cluster(c).WaitForAPIServer(ctx)
	if err != nil {
		return false, e.explain(err)
	}
	return e.dir.Write(kubeconfig, "clusters", c.Name, "admin.kubeconfig")
}

func (e *Environment) ensureCluster(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	return false, e.explain(e.cluster(c).Finish(ctx))
}

func (e *Environment) ensureAccess(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	admin, err := e.admin(c.Name)
	if err != nil {
		return false, err
	}
	return access.Ensure(ctx, admin, c.Access)
}

// dnsAnnotation on CoreDNS's pods holds the fingerprint of the configuration
// they were started with: CoreDNS itself looks only every half minute.
const dnsAnnotation = "devenv.dev/corefile"

// ensureDNS makes pods find the issuer's name: CoreDNS answers it with the
// issuer's Service.
func (e *Environment) ensureDNS(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	admin, err := e.admin(c.Name)
	if err != nil {
		return false, err
	}
	maps := admin.Core.CoreV1().ConfigMaps("kube-system")
	var config *corev1.ConfigMap
	err = kube.Poll(ctx, "kubeadm to install CoreDNS", func(ctx context.Context) error {
		if config, err = maps.Get(ctx, "coredns", metav1.GetOptions{}); err != nil {
			return err
		}
		_, err = admin.Core.AppsV1().Deployments("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
		return err
	})
	if err != nil {
		return false, err
	}
	rule := fmt.Sprintf("    rewrite name exact %s %s\n", e.issuerHost(), identity.ServiceHost)
	corefile := config.Data["Corefile"]
	if !strings.Contains(corefile, rule) {
		head, rest, ok := strings.Cut(corefile, "{\n")
		if !ok {
			return false, fmt.Errorf("could not read CoreDNS's Corefile: it has no server block")
		}
		corefile = head + "{\n" + rule + rest
		config.Data["Corefile"] = corefile
		if _, err := maps.Update(ctx, config, metav1.UpdateOptions{FieldManager: kube.FieldManager}); err != nil {
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

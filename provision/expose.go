package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/state"
	"github.com/devenv-oidc/devenv/provision/steps"
)

// ExposeRequest names a Service that speaks plain http.
type ExposeRequest struct {
	// Service and its Namespace; "default" when empty.
	Service, Namespace string
	// Cluster that it is in; the first when empty.
	Cluster string
	// Port of the Service, by number or name; its only one when empty.
	Port string
	// As is the first part of the host name; the Service's name when empty.
	As string
}

// exposeLimit is how long Expose takes at most: its proxy's image may have to be
// pulled.
const exposeLimit = 3 * time.Minute

// Expose gives a Service an https URL that the host, the pods and the other
// clusters reach alike, with a certificate of the environment's CA. It stays
// through every Up until Conceal. An error of class Usage says that nothing was
// changed.
func Expose(ctx context.Context, home state.Home, name string, r ExposeRequest) (exposed EndpointStatus, changed bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, exposeLimit, fmt.Errorf("the limit of %s was reached", exposeLimit))
	defer cancel()
	err = opened(ctx, home, name, func(old *Environment) error {
		x, err := old.endpointFor(ctx, r)
		if err != nil {
			return err
		}
		e := old
		if there := old.env.Record.Profile.Endpoint(x.Name); there == nil {
			wanted, err := old.env.Record.WithExposed(x)
			if err != nil {
				return err
			}
			e, changed = newEnvironment(home, wanted), true
		} else if there.Namespace != x.Namespace || there.Service != x.Service || there.Port != x.Port || there.Cluster != x.Cluster {
			return failure.Newf(failure.Usage, "there is already another endpoint %q in environment %q", x.Name, name).
				Hint("give this one another name: devenv expose %s --as NAME%s", r.Service, record.NameFlag(name))
		}
		if err := e.env.Save(); err != nil {
			return err
		}
		if err := e.serve(ctx, x); err != nil {
			err = e.notChanged(ctx, fmt.Errorf("could not expose the Service %s/%s: %w", x.Namespace, x.Service, err))
			if changed { // as it was, but for what cannot be undone either
				err = errors.Join(err, old.env.Save(), steps.RemoveEndpoint(context.WithoutCancel(ctx), e.env, x))
			}
			return err
		}
		exposed = e.endpointStatus(x)
		return e.answersAt(ctx, x)
	})
	return exposed, changed, err
}

// Conceal takes back what Expose did.
func Conceal(ctx context.Context, home state.Home, name, endpoint string) error {
	return opened(ctx, home, name, func(old *Environment) error {
		wanted, x, err := old.env.Record.WithoutExposed(endpoint)
		if err != nil {
			return err
		}
		if err := steps.RemoveEndpoint(ctx, old.env, x); err != nil {
			return old.notChanged(ctx, err)
		}
		return newEnvironment(home, wanted).env.Save()
	})
}

// endpointFor finds the Service of a request.
func (e *Environment) endpointFor(ctx context.Context, r ExposeRequest) (profiles.Endpoint, error) {
	var none profiles.Endpoint
	if !e.env.Runtime.Pods {
		return none, failure.Newf(failure.Usage, "environment %q runs as plain processes, which have no Services that answer", e.env.Name()).
			Hint("with a container engine: devenv up --runtime kind --recreate%s", record.NameFlag(e.env.Name()))
	}
	c := e.env.Record.Profile.Cluster(cmp.Or(r.Cluster, e.env.First().Name))
	if c == nil {
		return none, failure.Newf(failure.Usage, "there is no cluster %q in environment %q", r.Cluster, e.env.Name()).
			Hint("the clusters are: %s", e.env.Record.ClusterNames())
	}
	if err := e.runtime.Find(ctx); err != nil {
		return none, err
	}
	for _, other := range e.env.Spec().Clusters { // each of them learns the name
		state, err := e.runtime.State(ctx, other.Name)
		if err != nil {
			return none, err
		}
		if state != "running" {
			return none, failure.Newf(failure.Prerequisite, "cluster %q is %s, so that nothing can be exposed", other.Name, state).Hint("%s", e.env.Record.UpAgain())
		}
	}
	admin, err := e.env.Admin(c.Name)
	if err != nil {
		return none, err
	}
	namespace := cmp.Or(r.Namespace, metav1.NamespaceDefault)
	service, err := admin.Core.CoreV1().Services(namespace).Get(ctx, r.Service, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return none, failure.Newf(failure.Usage, "there is no Service %q in namespace %q of cluster %q", r.Service, namespace, c.Name).
			Hint("%s", otherServices(ctx, admin, r.Service))
	}
	if err != nil {
		return none, e.notChanged(ctx, fmt.Errorf("could not read the Service %s/%s: %w", namespace, r.Service, err))
	}
	port, err := portOf(service, r.Port)
	if err != nil {
		return none, failure.New(failure.Usage, err)
	}
	return profiles.Endpoint{Name: cmp.Or(r.As, r.Service), Cluster: c.Name, Namespace: namespace, Service: r.Service, Port: port}, nil
}

// otherServices says where Services are.
func otherServices(ctx context.Context, admin *kube.Client, name string) string {
	list, err := admin.Core.CoreV1().Services("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return "name its namespace: --namespace"
	}
	var others []string
	for _, s := range list.Items {
		if s.Name == name {
			return "there is one in another: --namespace " + s.Namespace
		}
		others = append(others, s.Namespace+"/"+s.Name)
	}
	return "there are: " + strings.Join(others, ", ")
}

// portOf is the number of a Service's port, which is given by number or name.
func portOf(service *corev1.Service, wanted string) (int, error) {
	var all []string
	for _, p := range service.Spec.Ports {
		all = append(all, fmt.Sprintf("%d %s", p.Port, p.Name))
		if p.Protocol != corev1.ProtocolTCP || wanted == "" && len(service.Spec.Ports) > 1 {
			continue
		}
		if wanted == "" || wanted == p.Name || wanted == strconv.Itoa(int(p.Port)) {
			if p.Name == "https" || p.Port == 443 || p.AppProtocol != nil && *p.AppProtocol == "https" {
				return 0, fmt.Errorf("port %d of the Service %s/%s speaks https by itself; an endpoint in the profile, with the selector of its pods, leads there as it is: spec.endpoints", p.Port, service.Namespace, service.Name)
			}
			return int(p.Port), nil
		}
	}
	if wanted == "" {
		return 0, fmt.Errorf("the Service %s/%s has several ports, name one by --port: %s", service.Namespace, service.Name, strings.Join(all, ", "))
	}
	return 0, fmt.Errorf("the Service %s/%s has no TCP port %q, it has: %s", service.Namespace, service.Name, wanted, strings.Join(all, ", "))
}

// serve makes what an endpoint needs: the image of its proxy, the proxy, and its
// name in every cluster.
func (e *Environment) serve(ctx context.Context, x profiles.Endpoint) error {
	if err := e.runtime.Find(ctx); err != nil {
		return err
	}
	ids := []string{steps.ID(e.env, "images", x.Cluster), steps.ID(e.env, "objects", x.Cluster)}
	for _, c := range e.env.Spec().Clusters {
		ids = append(ids, steps.ID(e.env, "dns", c.Name))
	}
	for _, id := range ids {
		if err := e.runStep(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// serviceLimit is how long the Service behind a new endpoint may need to answer.
const serviceLimit = 10 * time.Second

// answersAt asks an endpoint by its URL, until its Service answers in whatever
// way.
func (e *Environment) answersAt(ctx context.Context, x profiles.Endpoint) error {
	client, err := e.env.IssuerClient()
	if err != nil {
		return err
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	limited, cancel := context.WithTimeoutCause(ctx, serviceLimit, fmt.Errorf("the limit of %s was reached", serviceLimit))
	defer cancel()
	err = kube.Poll(limited, "an answer from "+e.env.EndpointURL(x.Name), func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.env.EndpointURL(x.Name), nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		response.Body.Close()
		if response.StatusCode == http.StatusBadGateway {
			return fmt.Errorf("%s: the Service %s/%s does not answer at port %d", response.Status, x.Namespace, x.Service, x.Port)
		}
		return nil
	})
	if err == nil {
		return nil
	}
	return failure.New(failure.Provisioning, fmt.Errorf("%s/%s is exposed at %s, but: %w", x.Namespace, x.Service, e.env.EndpointURL(x.Name), err),
		fmt.Sprintf("see whether it has pods that are ready: kubectl --kubeconfig %s --namespace %s get endpointslices", failure.Word(e.env.KubeconfigFile(x.Cluster)), x.Namespace),
		"or take it back: devenv expose --remove "+x.Name+record.NameFlag(e.env.Name()))
}

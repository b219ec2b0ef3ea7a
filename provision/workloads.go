package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/chart"
	"github.com/devenv-oidc/devenv/provision/check"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/kube"
)

// What a profile runs beside Dex and cert-manager: charts, objects, and the
// endpoints that they serve.

// workloadLimit is how long Deployments of a profile may take: an image that
// cannot be had would wait for ever.
const workloadLimit = 3 * time.Minute

// planWorkloads is what a profile adds to a cluster; after is what must be done
// before.
func (e *Environment) planWorkloads(c profiles.Cluster, after []string) []Step {
	var steps []Step
	after = append(after, e.knownAfter([]any{c.Charts, c.Objects})...)
	if len(c.Charts) > 0 {
		title := "Charts of cluster " + c.Name
		steps = append(steps, Step{e.stepOf("more-charts", c.Name), title, after, clusterStep(e.ensureProfileCharts).on(c)})
		after = append(after, e.stepOf("more-charts", c.Name))
	}
	if len(c.Objects) > 0 || len(e.endpointsOf(c)) > 0 {
		title := "Objects and endpoints of cluster " + c.Name
		steps = append(steps, Step{e.stepOf("objects", c.Name), title, after, clusterStep(e.ensureObjects).on(c)})
	}
	return steps
}

// knownAfter are the steps after which the placeholders of a part of a profile
// are known: addresses are from the start, a cluster's authority is not.
func (e *Environment) knownAfter(part any) []string {
	var after []string
	for _, name := range profiles.UsedPlaceholders(part) {
		rest, is := strings.CutPrefix(name, "clusters.")
		if cluster, what, _ := strings.Cut(rest, "."); is && what == "ca" {
			after = append(after, e.stepOf("api-server", cluster))
		}
	}
	return after
}

func (e *Environment) endpointsOf(c profiles.Cluster) []profiles.Endpoint {
	var list []profiles.Endpoint
	for _, x := range e.record.Profile.Spec.Endpoints {
		if x.Cluster == c.Name {
			list = append(list, x)
		}
	}
	return list
}

func endpointService(x profiles.Endpoint) string { return "devenv-" + x.Name }

// endpointObject makes an endpoint's port the same on the node, on the host and
// in the cluster, as the issuer's.
func (e *Environment) endpointObject(x profiles.Endpoint) kube.Object {
	port, selector := e.record.EndpointPorts[x.Name], kube.Object{}
	for key, value := range x.Selector {
		selector[key] = value
	}
	return kube.Object{
		"apiVersion": "v1", "kind": "Service",
		"metadata": kube.Object{"name": endpointService(x), "namespace": x.Namespace, "labels": kube.ManagedLabels()},
		"spec": kube.Object{
			"type": "NodePort", "selector": selector,
			"ports": []any{kube.Object{"name": "https", "port": port, "nodePort": port, "targetPort": x.TargetPort}},
		},
	}
}

// ensureObjects applies a profile's objects, and waits until its Deployments
// run.
func (e *Environment) ensureObjects(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	admin, err := e.admin(c.Name)
	if err != nil {
		return false, err
	}
	objects, err := fill(e, c.Objects)
	if err != nil {
		return false, err
	}
	if changed, err = admin.Apply(ctx, objects...); err != nil {
		return changed, err
	}
	for _, x := range e.endpointsOf(c) {
		did, err := admin.Apply(ctx, e.endpointObject(x))
		if err != nil {
			return changed, err
		}
		changed = changed || did
	}
	ctx, cancel := context.WithTimeoutCause(ctx, workloadLimit, fmt.Errorf("the limit of %s was reached", workloadLimit))
	defer cancel()
	for _, d := range deployments(objects) {
		if err := admin.WaitAvailable(ctx, d[0], d[1]); err != nil {
			return changed, failure.New(failure.Provisioning, err, "see which proofs that leaves open: devenv check"+nameFlag(e.record.Name))
		}
	}
	return changed, nil
}

// deployments are namespace and name of those among objects.
func deployments(objects []map[string]any) [][2]string {
	var list [][2]string
	for _, o := range objects {
		metadata, _ := o["metadata"].(map[string]any)
		if o["kind"] == "Deployment" {
			namespace, _ := metadata["namespace"].(string)
			namespace = cmp.Or(namespace, "default")
			name, _ := metadata["name"].(string)
			list = append(list, [2]string{namespace, name})
		}
	}
	return list
}

func profileChart(c profiles.Chart, pins profiles.Pins) chart.Source {
	if pin, ok := pins.Charts[c.Name]; ok && pin.Path != "" { // a sources file has it
		return chart.Source{Name: c.Name, Path: pin.Path}
	}
	return chart.Source{Name: c.Name, Repository: c.Repository, Version: c.Version, SHA256: c.SHA256}
}

// tryCharts fetches a profile's charts and renders them with stand-ins for what
// is not known yet: what cannot be had or rendered is known before anything is
// made.
func (e *Environment) tryCharts(cache string) error {
	known := func(name string) (string, error) {
		value, err := e.value(name)
		if err != nil { // an authority that is made later
			return "not-known-yet", nil
		}
		return value, nil
	}
	for _, c := range e.record.Profile.Spec.Clusters {
		for _, x := range c.Charts {
			loaded, err := profileChart(x, e.pins).Load(cache)
			if err != nil {
				return failure.New(failure.Prerequisite, err, "where no network is to be had, name a folder in a sources file (DEVENV_SOURCES); see the README")
			}
			values, err := profiles.FillAll(x.Values, known)
			if err == nil {
				err = chart.Render(chart.Release{Name: x.Release, Namespace: x.Namespace, Chart: loaded, Values: values}, c.KubernetesVersion)
			}
			if err != nil {
				return failure.New(failure.Usage, err, "correct its values in the profile: spec.clusters[].charts[].values")
			}
		}
	}
	return nil
}

// ensureProfileCharts installs a profile's charts and waits for their
// Deployments.
func (e *Environment) ensureProfileCharts(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	admin, err := e.admin(c.Name)
	if err != nil {
		return false, err
	}
	cache, err := cacheFolder("charts")
	if err != nil {
		return false, err
	}
	limited, cancel := context.WithTimeoutCause(ctx, workloadLimit, fmt.Errorf("the limit of %s was reached", workloadLimit))
	defer cancel()
	for _, x := range c.Charts {
		loaded, err := profileChart(x, e.pins).Load(cache)
		if err != nil {
			return changed, err
		}
		values, err := fill(e, x.Values)
		if err != nil {
			return changed, err
		}
		made, err := admin.EnsureNamespace(ctx, x.Namespace)
		if err != nil {
			return changed || made, err
		}
		log := &lazyFile{path: e.LogFile("helm-" + c.Name + "-" + x.Release)}
		installed, err := chart.Ensure(ctx, admin, func(format string, args ...any) { fmt.Fprintf(log, format+"\n", args...) },
			chart.Release{Name: x.Release, Namespace: x.Namespace, Chart: loaded, Values: values})
		changed = changed || made || installed
		if err != nil {
			return changed, err
		}
		if err := admin.WaitAvailableOf(limited, x.Namespace, "meta.helm.sh/release-name", x.Release); err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// workloadProofs are that a profile's Deployments run, and what its probes find;
// those are not made where a Deployment does not run.
func (k *kindRuntime) workloadProofs(ctx context.Context) []check.Result {
	var results []check.Result
	var broken []string
	for _, c := range k.record.Profile.Spec.Clusters {
		admin, adminErr := k.admin(c.Name)
		objects, fillErr := fill(k.Environment, c.Objects)
		if err := errors.Join(adminErr, fillErr); err != nil {
			broken = append(broken, "cluster "+c.Name)
			results = append(results, k.in(c, check.Result{Group: "workload", Name: "the objects of " + c.Name, Detail: err.Error()})...)
			continue
		}
		for _, d := range deployments(objects) {
			name := fmt.Sprintf("Deployment %s/%s", d[0], d[1])
			result := check.Result{Group: "workload", Name: name + " runs", OK: true}
			if err := admin.Available(ctx, d[0], d[1]); err != nil {
				result.OK, result.Detail = false, err.Error()
				broken = append(broken, name)
			}
			results = append(results, k.in(c, result)...)
		}
	}
	probes := make([]proof, len(k.record.Profile.Spec.Probes))
	for i, p := range k.record.Profile.Spec.Probes {
		probes[i] = func() []check.Result {
			result := check.Result{Group: "probe", Name: p.From + ": " + p.Name}
			if len(broken) > 0 {
				result.Detail = "not proven, because of what does not run: " + strings.Join(broken, ", ")
				return []check.Result{result}
			}
			return []check.Result{k.probe(ctx, p, result)}
		}
	}
	return append(results, check.Concurrently(probes)...)
}

func (k *kindRuntime) probe(ctx context.Context, p profiles.Probe, result check.Result) check.Result {
	filled, err := fill(k.Environment, p)
	if err != nil {
		result.Detail = err.Error()
		return result
	}
	server, path, urlErr := filled.ParsedURL()
	admin, adminErr := k.admin(p.From)
	token := ""
	var tokenErr error
	if p.Token != nil {
		token, tokenErr = k.Token(ctx, TokenRequest{Client: p.Token.Client, Audience: p.Token.Audience, Grant: GrantClientCredentials})
	}
	if err := errors.Join(urlErr, adminErr, tokenErr); err != nil {
		result.Detail = err.Error()
		return result
	}
	status, err := check.Get(ctx, admin, "default", k.dexImage().Ref(), check.Request{Server: server, Path: path, CA: filled.CA, Token: token})
	if err != nil {
		result.Detail = err.Error()
		return result
	}
	result.OK, result.Detail = status == p.Status, fmt.Sprintf("%d from %s%s", status, server, path)
	return result
}

// podProofs are, for each cluster, that its pods reach the issuer, and what the
// profile's own pods do.
func (k *kindRuntime) podProofs(ctx context.Context) ([]proof, error) {
	ca, err := k.dir.Read("ca.crt")
	if err != nil {
		return nil, err
	}
	proofs := []proof{func() []check.Result { return k.workloadProofs(ctx) }}
	for _, c := range k.record.Profile.Spec.Clusters {
		admin, err := k.admin(c.Name)
		if err != nil {
			return nil, err
		}
		proofs = append(proofs, func() []check.Result {
			return k.in(c, check.IssuerFromPod(ctx, admin, "default", k.dexImage().Ref(), k.Issuer(), string(ca)))
		})
	}
	return proofs, nil
}

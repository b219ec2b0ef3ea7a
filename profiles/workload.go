package profiles

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Endpoint is a port of pods that everybody reaches under one URL, as they
// reach the issuer: the host, the pods of the cluster and those of the others.
// Its name is below the environment's domain, so that the environment's
// authority may sign for it: ${endpoints.NAME.host}.
type Endpoint struct {
	// Name of it, a DNS label; the first part of its host name.
	Name string `json:"name" jsonschema:"pattern=^[a-z]([-a-z0-9]{0\\,48}[a-z0-9])?$"`
	// Cluster and Namespace that the pods are in.
	Cluster   string `json:"cluster" jsonschema:"minLength=1"`
	Namespace string `json:"namespace" jsonschema:"minLength=1"`
	// Selector of the pods' labels, where pods speak https themselves.
	Selector map[string]string `json:"selector,omitempty"`
	// TargetPort of the selected pods.
	TargetPort int `json:"targetPort,omitempty" jsonschema:"minimum=1,maximum=65535"`
	// Service that speaks plain http, in the place of selector and targetPort: a
	// proxy speaks https for it, with a certificate of the environment's CA.
	Service string `json:"service,omitempty"`
	// Port of the Service, a number.
	Port int `json:"port,omitempty" jsonschema:"minimum=1,maximum=65535"`
}

// ProxyImage is the name, among the pinned images, of what speaks https for an
// endpoint's Service.
const ProxyImage = "caddy"

// PodImages are the names of the pinned images that a cluster's pods need for
// what the profile says.
func (e *Environment) PodImages(c Cluster) []string {
	var names []string
	for _, name := range UsedPlaceholders([]any{c.Objects, c.Charts}) {
		if image, is := strings.CutPrefix(name, "images."); is {
			names = append(names, image)
		}
	}
	if slices.ContainsFunc(e.Spec.Endpoints, func(x Endpoint) bool { return x.Cluster == c.Name && x.Service != "" }) {
		names = append(names, ProxyImage)
	}
	return names
}

// Probe is a GET from a pod of a cluster, which verifies the server, and the
// answer that it must get.
type Probe struct {
	// Name says what it proves.
	Name string `json:"name" jsonschema:"minLength=1"`
	// From is the cluster that the pod is in.
	From string `json:"from" jsonschema:"minLength=1"`
	// URL to get, https; it may have placeholders.
	URL string `json:"url" jsonschema:"minLength=1"`
	// CA that the server's certificate must verify with, PEM; "${ca}" when empty.
	CA string `json:"ca,omitempty"`
	// Token to send; none when absent.
	Token *ProbeToken `json:"token,omitempty"`
	// Status that the answer must have; 200 when absent.
	Status int `json:"status,omitempty" jsonschema:"minimum=100,maximum=599"`
}

// ProbeToken is a token of Dex.
type ProbeToken struct {
	// Client that gets it for itself, by client-credentials.
	Client string `json:"client" jsonschema:"minLength=1"`
	// Audience that is asked for, another client; the client's own when empty.
	Audience string `json:"audience,omitempty"`
}

// workloads are the kinds that start pods.
var workloads = []string{"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "ReplicaSet", "StatefulSet"}

// StartsPods says whether an object of a kind starts pods.
func StartsPods(kind string) bool { return slices.Contains(workloads, kind) }

// NeedsPods names the fields that mean something only where pods run.
func (e *Environment) NeedsPods() []string {
	var fields []string
	for _, key := range slices.Sorted(maps.Keys(e.Spec.Dex.Values)) {
		if key != "config" {
			fields = append(fields, "spec.dex.values."+key)
		}
	}
	if len(e.Spec.CertManager.Values) > 0 {
		fields = append(fields, "spec.certManager.values")
	}
	for i, c := range e.Spec.Clusters {
		for _, field := range c.Nodes.fields() {
			fields = append(fields, fmt.Sprintf("spec.clusters[%d].%s", i, field))
		}
		if len(c.Images) > 0 {
			fields = append(fields, fmt.Sprintf("spec.clusters[%d].images", i))
		}
		if len(c.Charts) > 0 {
			fields = append(fields, fmt.Sprintf("spec.clusters[%d].charts", i))
		}
		for j, o := range c.Objects {
			kind, _ := o["kind"].(string)
			api, _ := o["apiVersion"].(string)
			if slices.Contains(workloads, kind) || strings.HasPrefix(api, "cert-manager.io/") {
				fields = append(fields, fmt.Sprintf("spec.clusters[%d].objects[%d] (%s)", i, j, kind))
			}
		}
	}
	if len(e.Spec.Endpoints) > 0 {
		fields = append(fields, "spec.endpoints")
	}
	if len(e.Spec.Probes) > 0 {
		fields = append(fields, "spec.probes")
	}
	if len(e.Spec.ServiceBindings) > 0 {
		fields = append(fields, "spec.serviceBindings")
	}
	return fields
}

// ParsedURL splits a probe's URL, whose placeholders are filled in, into the
// server and what is asked of it.
func (p Probe) ParsedURL() (server, path string, err error) {
	u, err := url.Parse(p.URL)
	if err != nil {
		return "", "", err
	}
	if u.Scheme != "https" || u.Host == "" {
		return "", "", fmt.Errorf("%q is no https URL", p.URL)
	}
	return "https://" + u.Host, u.RequestURI(), nil
}

func (m *report) workloads(e *Environment) {
	for i, c := range e.Spec.Clusters {
		addresses := seen{}
		for j, manifest := range c.Manifests {
			p := fmt.Sprintf("spec.clusters[%d].manifests[%d]", i, j)
			m.manifest(p, manifest)
			addresses.once(m, p, manifest.Path, manifest.Address())
		}
		releases := seen{}
		for j, chart := range c.Charts {
			p := fmt.Sprintf("spec.clusters[%d].charts[%d]", i, j)
			releases.once(m, p, chart.Namespace, chart.Release)
			m.placeholders(e, p+".values", chart.Values)
		}
		for j, o := range c.Objects {
			p := fmt.Sprintf("spec.clusters[%d].objects[%d]", i, j)
			metadata, _ := o["metadata"].(map[string]any)
			for field, value := range map[string]any{"apiVersion": o["apiVersion"], "kind": o["kind"], "metadata.name": metadata["name"]} {
				if text, ok := value.(string); !ok || text == "" {
					m.add(p+"."+field, "is missing")
				}
			}
			if api, _ := o["apiVersion"].(string); strings.HasPrefix(api, "cert-manager.io/") && i > 0 {
				m.add(p+".apiVersion", "cert-manager runs in the first cluster only")
			}
			m.placeholders(e, p, o)
		}
	}
	hosts := seen{}
	for i, x := range e.Spec.Endpoints {
		p := fmt.Sprintf("spec.endpoints[%d]", i)
		hosts.once(m, p, "", x.Name)
		if x.Name == "dex" || x.Name == "share" {
			m.add(p+".name", "%q is a name of devenv's own", x.Name)
		}
		if e.Cluster(x.Cluster) == nil {
			m.add(p+".cluster", "there is no cluster %q", x.Cluster)
		}
		pods, service := len(x.Selector) > 0 && x.TargetPort > 0, x.Service != "" && x.Port > 0
		if pods == service || service && (len(x.Selector) > 0 || x.TargetPort > 0) || pods && (x.Service != "" || x.Port > 0) {
			m.add(p, "has either selector and targetPort, of pods that speak https, or service and port, of a Service that speaks http")
		}
	}
	for i, x := range e.Spec.Probes {
		p := fmt.Sprintf("spec.probes[%d]", i)
		if e.Cluster(x.From) == nil {
			m.add(p+".from", "there is no cluster %q", x.From)
		}
		m.placeholders(e, p+".url", x.URL)
		m.placeholders(e, p+".ca", x.CA)
		if x.Token != nil {
			m.probeToken(e, p+".token", *x.Token)
		}
	}
}

// manifest checks that a manifest is one of the two things it can be.
func (m *report) manifest(path string, x Manifest) {
	switch {
	case x.URL == "" && x.Repository == "":
		m.add(path, "has no address; set url and sha256, or repository and commit")
	case x.URL != "" && (x.Repository != "" || x.Commit != "" || x.Path != ""):
		m.add(path, "is a file (url, sha256) or of a repository (repository, commit, path), not both")
	case x.URL != "" && x.SHA256 == "":
		m.add(path+".sha256", "is missing")
	case x.Repository != "" && x.SHA256 != "":
		m.add(path+".sha256", "is for a url; the commit verifies what is in a repository")
	case x.Repository != "" && x.Commit == "":
		m.add(path+".commit", "is missing")
	}
}

// probeToken checks that Dex mints such a token.
func (m *report) probeToken(e *Environment, path string, t ProbeToken) {
	client := e.Client(t.Client)
	if client == nil {
		m.add(path+".client", "there is no client %q in spec.dex.clients, they are: %s", t.Client, strings.Join(clientIDs(e), ", "))
		return
	}
	m.grant(e, path+".client", *client, "client-credentials")
	if t.Audience == "" || t.Audience == t.Client {
		return
	}
	switch audience := e.Client(t.Audience); {
	case audience == nil:
		m.add(path+".audience", "nobody mints tokens for %q: there is no such client in spec.dex.clients", t.Audience)
	case !slices.Contains(audience.TrustedPeers, t.Client):
		m.add(path+".audience", "%q gets no tokens for %q, which does not have it among its trustedPeers", t.Client, t.Audience)
	}
}

// grant checks that a client can be used for a grant.
func (m *report) grant(e *Environment, path string, c Client, grant string) {
	switch grant {
	case "browser":
		local := func(uri string) bool {
			u, err := url.Parse(uri)
			return err == nil && u.Scheme == "http" && u.Port() != ""
		}
		if !slices.ContainsFunc(c.RedirectURIs, local) && (!c.Public || len(c.RedirectURIs) > 0) {
			m.add(path, "%q cannot be used for the grant browser: it has no redirect URI with a port on this machine", c.ID)
		}
	case "device":
		if e.Spec.Issuer == nil && !slices.Contains(c.RedirectURIs, deviceCallback) && (!c.Public || len(c.RedirectURIs) > 0) {
			m.add(path, "%q cannot be used for the grant device: it does not have the redirect URI %q", c.ID, deviceCallback)
		}
	case "client-credentials":
		if c.Public {
			m.add(path, "%q is public and cannot be used for the grant client-credentials", c.ID)
		}
		if version := e.Spec.Dex.Version; e.Spec.Issuer == nil && !Pinned().DexHas(version, grant) {
			m.add(path, "Dex %s, which is pinned, has no grant client-credentials; set spec.dex.version: %s", Pinned().DexImage(version).Tag, strings.Join(Pinned().dexWith(grant), " or "))
		}
	}
}

package profiles

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Nodes are what a cluster's nodes are made with; nothing of it can change in a
// cluster that exists. It needs nodes: plain processes have none.
type Nodes struct {
	// ControlPlanes are nodes with an API server and an etcd, behind a load balancer
	// where there are several; 1 when absent. Several need workers, on which pods run.
	ControlPlanes int `json:"controlPlanes,omitempty" jsonschema:"minimum=1,maximum=7"`
	// Workers are nodes beside the control plane, on which pods then run.
	Workers int `json:"workers,omitempty" jsonschema:"minimum=0,maximum=20"`
	// Image of the nodes, as kind builds them, instead of the pinned one. It must
	// hold kubernetesVersion.
	Image string `json:"image,omitempty"`
	// ExtraPortMappings are ports of the control plane's node on the host.
	ExtraPortMappings []PortMapping `json:"extraPortMappings,omitempty"`
	// SparePorts are how many ports of the node and of the host are put by for
	// `devenv expose`; 2 when absent.
	SparePorts *int `json:"sparePorts,omitempty" jsonschema:"minimum=0,maximum=100"`
	// ExtraMounts are folders and files of the host in every node.
	ExtraMounts []Mount `json:"extraMounts,omitempty"`
	// FeatureGates of Kubernetes, by name.
	FeatureGates map[string]bool `json:"featureGates,omitempty"`
	// KubeadmConfigPatches are merged into kubeadm's configuration, each a YAML
	// document with a kind. extraArgs in them are maps, and what devenv itself
	// says there stays.
	KubeadmConfigPatches []string `json:"kubeadmConfigPatches,omitempty"`
	// Kind is laid over kind's own configuration of the cluster
	// (https://kind.sigs.k8s.io/docs/user/configuration/, v1alpha4), for what has
	// no field here. Lists are added to.
	Kind map[string]any `json:"kind,omitempty"`
}

// Several says whether there are several control planes.
func (n Nodes) Several() bool { return n.ControlPlanes > 1 }

// LoadBalancerImage is the name, among the pinned images, of what kind puts before
// several control planes.
const LoadBalancerImage = "load-balancer"

// defaultSparePorts are enough for what is usually developed at a time.
const defaultSparePorts = 2

// Spare are how many ports are put by.
func (n Nodes) Spare() int {
	if n.SparePorts != nil {
		return *n.SparePorts
	}
	return defaultSparePorts
}

// PortMapping is a port of a node on the host.
type PortMapping struct {
	ContainerPort int `json:"containerPort" jsonschema:"minimum=1,maximum=65535"`
	// HostPort is chosen by the engine when 0.
	HostPort int `json:"hostPort,omitempty" jsonschema:"minimum=0,maximum=65535"`
	// ListenAddress on the host; 127.0.0.1 when empty.
	ListenAddress string `json:"listenAddress,omitempty"`
	// Protocol is TCP when empty.
	Protocol string `json:"protocol,omitempty" jsonschema:"enum=TCP,enum=UDP,enum=SCTP"`
}

// Mount is a folder or file of the host in a node.
type Mount struct {
	// HostPath is relative to where devenv is run, if it is relative.
	HostPath      string `json:"hostPath" jsonschema:"minLength=1"`
	ContainerPath string `json:"containerPath" jsonschema:"pattern=^/"`
	ReadOnly      bool   `json:"readOnly,omitempty"`
}

// fields names what is set, for messages: a runtime without nodes has none of it.
func (n Nodes) fields() []string {
	set := map[string]bool{
		"controlPlanes": n.Several(), "workers": n.Workers > 0, "image": n.Image != "", "extraPortMappings": len(n.ExtraPortMappings) > 0, "sparePorts": n.SparePorts != nil, "extraMounts": len(n.ExtraMounts) > 0,
		"featureGates": len(n.FeatureGates) > 0, "kubeadmConfigPatches": len(n.KubeadmConfigPatches) > 0, "kind": len(n.Kind) > 0,
	}
	maps.DeleteFunc(set, func(_ string, is bool) bool { return !is })
	return slices.Sorted(maps.Keys(set))
}

// Files in a node that are devenv's own.
const nodeFiles = "/etc/devenv"

// nodes finds what collides with what devenv itself must decide.
func (m *report) nodes(e *Environment, path string, c Cluster) {
	if c.Several() && c.Workers == 0 {
		m.add(path+".workers", "is 0, and pods do not run on several control planes")
	}
	if c.Several() && len(c.Trust.Issuers()) > 0 {
		m.add(path+".controlPlanes", "is %d, and an issuer that is another cluster is known only when they run, each with its own copy; use one", c.ControlPlanes)
	}
	for i, p := range c.ExtraPortMappings {
		at := fmt.Sprintf("%s.extraPortMappings[%d]", path, i)
		if p.HostPort != 0 && p.HostPort == e.Spec.Dex.Port {
			m.add(at+".hostPort", "%d is the issuer's, spec.dex.port", p.HostPort)
		}
		if p.ContainerPort == e.Spec.Dex.Port || p.ContainerPort == 6443 {
			m.add(at+".containerPort", "%d is %s", p.ContainerPort, map[bool]string{true: "the API server's", false: "the issuer's, spec.dex.port"}[p.ContainerPort == 6443])
		}
		for _, other := range e.Spec.Clusters {
			for j, q := range other.ExtraPortMappings {
				if other.Name == c.Name && j >= i {
					break
				}
				if p.HostPort != 0 && p.HostPort == q.HostPort && cmp.Or(p.ListenAddress, "127.0.0.1") == cmp.Or(q.ListenAddress, "127.0.0.1") && cmp.Or(p.Protocol, "TCP") == cmp.Or(q.Protocol, "TCP") {
					m.add(at+".hostPort", "%d is that of extraPortMappings[%d] of cluster %s, too", p.HostPort, j, other.Name)
				}
			}
			if other.Name == c.Name {
				break // each pair once
			}
		}
	}
	for i, x := range c.ExtraMounts {
		if clean := filepath.Clean(x.ContainerPath); clean == nodeFiles || strings.HasPrefix(clean, nodeFiles+"/") || strings.HasPrefix(nodeFiles+"/", clean+"/") || clean == "/" {
			m.add(fmt.Sprintf("%s.extraMounts[%d].containerPath", path, i), "devenv has its own files in %s", nodeFiles)
		}
	}
	for i, patch := range c.KubeadmConfigPatches {
		m.kubeadmPatch(fmt.Sprintf("%s.kubeadmConfigPatches[%d]", path, i), patch)
	}
	m.kindOverlay(path+".kind", c.Kind)
}

// controlled are the flags that devenv sets itself, by the part of kubeadm's
// ClusterConfiguration, with the field that is for them.
var controlled = map[string]map[string]string{
	"apiServer": {
		"oidc-": "trust.flags", "authentication-config": "trust.configuration", "anonymous-auth": "trust.configuration.anonymous",
		"service-account-issuer": "publicIssuer", "service-account-jwks-uri": "publicIssuer", "api-audiences": "publicIssuer",
	},
	"controllerManager": {"leader-elect": "", "kube-api-qps": "", "kube-api-burst": ""},
	"scheduler":         {"leader-elect": ""},
}

func (m *report) kubeadmPatch(path, text string) {
	var patch map[string]any
	if err := yaml.Unmarshal([]byte(text), &patch); err != nil {
		m.add(path, "it is no YAML document: %v", err)
		return
	}
	kind, _ := patch["kind"].(string)
	switch kind {
	case "ClusterConfiguration":
	case "InitConfiguration":
		if patch["patches"] != nil {
			m.add(path, "patches of InitConfiguration are devenv's")
		}
		return
	case "KubeletConfiguration":
		if patch["crashLoopBackOff"] != nil {
			m.add(path, "crashLoopBackOff of KubeletConfiguration is devenv's")
		}
		return
	case "JoinConfiguration", "KubeProxyConfiguration":
		return
	default:
		m.add(path, "kind %q is none of ClusterConfiguration, InitConfiguration, JoinConfiguration, KubeletConfiguration, KubeProxyConfiguration", kind)
		return
	}
	for _, part := range slices.Sorted(maps.Keys(controlled)) {
		settings, _ := patch[part].(map[string]any)
		if part == "apiServer" && settings["extraVolumes"] != nil {
			m.add(path, "apiServer.extraVolumes is devenv's; files for the API server come by extraMounts")
		}
		args := settings["extraArgs"]
		byName, isMap := args.(map[string]any)
		if args != nil && !isMap {
			m.add(path, "%s.extraArgs must be a map (name: value), or it would replace what devenv says there", part)
		}
		for _, name := range slices.Sorted(maps.Keys(byName)) {
			for _, prefix := range slices.Sorted(maps.Keys(controlled[part])) {
				if !strings.HasPrefix(name, prefix) {
					continue
				}
				instead := ""
				if field := controlled[part][prefix]; field != "" {
					instead = "; use " + field
				}
				m.add(path, "%s.extraArgs.%s is devenv's%s", part, name, instead)
			}
		}
	}
}

// reserved are the fields of kind's configuration that devenv decides, with
// what is for them here.
var reserved = map[string]string{
	"apiVersion": "it is kind.x-k8s.io/v1alpha4", "kind": "it is Cluster", "name": "devenv names its clusters",
	"nodes":                       "use controlPlanes, workers, image, extraPortMappings and extraMounts",
	"featureGates":                "use featureGates beside it",
	"kubeadmConfigPatches":        "use kubeadmConfigPatches beside it",
	"networking.apiServerPort":    "devenv chooses it",
	"networking.apiServerAddress": "the API server is on the loopback",
	"networking.ipFamily":         "devenv's addresses are of IPv4",
}

func (m *report) kindOverlay(path string, overlay map[string]any) {
	for _, field := range slices.Sorted(maps.Keys(reserved)) {
		at, last := overlay, field
		if outer, inner, nested := strings.Cut(field, "."); nested {
			at, _ = overlay[outer].(map[string]any)
			last = inner
		}
		if _, set := at[last]; set {
			m.add(path+"."+field, "%s", reserved[field])
		}
	}
}

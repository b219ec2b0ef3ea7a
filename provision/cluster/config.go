package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/yaml"

	"github.com/devenv-oidc/devenv/profiles"
)

// filesMount is where a node and its API server see Spec.Files.
const filesMount = "/etc/devenv"

// Spec is a cluster as devenv wants it.
type Spec struct {
	// Name of the kind cluster.
	Name string
	// Image of the nodes.
	Image string
	// Nodes is what else they are made with; its own Image is not looked at.
	Nodes profiles.Nodes
	// KubernetesVersion as in v1.37.0.
	KubernetesVersion string
	// APIPort is the API server's port on the host's loopback.
	APIPort int
	// Ports are bound on the host's loopback and on the node alike.
	Ports []int
	// IssuerPort is the one among Ports at which an API server finds its issuer on
	// its own node; 0 where it finds none there.
	IssuerPort int
	// Files is a host folder that the node and the API server see as
	// /etc/devenv; it must exist before the cluster does.
	Files string
	// APIServerArgs are flags of kube-apiserver, without dashes.
	APIServerArgs map[string]string
	// HostAliases give the API server names for 127.0.0.1: in its static pod's
	// spec, because an edit of the node's /etc/hosts is lost at a restart.
	HostAliases []string
	// Kubeconfig is where the administrator's kubeconfig goes.
	Kubeconfig string
}

// completePath holds the mark that the creation went through: kind leaves no
// trace of a half-made cluster that could be trusted.
func (s *Spec) completePath() string { return filepath.Join(s.Files, "complete") }

// Complete says whether the cluster was ever finished. It asks no engine: the
// cluster may be gone since.
func (s *Spec) Complete() bool {
	_, err := os.Stat(s.completePath())
	return err == nil
}

// KubernetesPath is where a file of Spec.Files is seen by the API server.
func KubernetesPath(name string) string { return filesMount + "/" + name }

// config is the cluster in kind's terms.
//
// kubeadm has two generations of configuration, in which extraArgs is a map or
// a list. A patch without apiVersion and with a map suits both: kind converts
// it. One with the wrong apiVersion would be dropped without an error.
func (s *Spec) config() (*v1alpha4.Cluster, error) {
	scheduler := map[string]string{}
	controllers := map[string]string{
		// it asks for a token for each of its fifty controllers before any of
		// them starts: at the default of 20 a second, five seconds without a pod
		"kube-api-qps": "200", "kube-api-burst": "400",
	}
	if !s.Nodes.Several() { // there is nobody to wait for after a restart
		scheduler["leader-elect"], controllers["leader-elect"] = "false", "false"
	}
	patches := []any{
		map[string]any{
			"kind": "ClusterConfiguration",
			"apiServer": map[string]any{
				"extraArgs": s.APIServerArgs,
				"extraVolumes": []any{map[string]any{
					"name": "devenv", "hostPath": filesMount, "mountPath": filesMount, "readOnly": true, "pathType": "Directory",
				}},
			},
			"controllerManager": map[string]any{"extraArgs": controllers},
			"scheduler":         map[string]any{"extraArgs": scheduler},
		},
		map[string]any{
			"kind":    "InitConfiguration",
			"patches": map[string]any{"directory": filesMount + "/patches"},
		},
		map[string]any{ // of further control planes
			"kind":    "JoinConfiguration",
			"patches": map[string]any{"directory": filesMount + "/patches"},
		},
	}
	if s.atLeast("v1.35.0") {
		// Pods that start before what they need does are tried again within a
		// second, not after 10, 20 and 40.
		patches = append(patches, map[string]any{
			"apiVersion":       "kubelet.config.k8s.io/v1beta1",
			"kind":             "KubeletConfiguration",
			"crashLoopBackOff": map[string]any{"maxContainerRestartPeriod": "1s"},
		})
	}
	cluster := &v1alpha4.Cluster{
		TypeMeta:   v1alpha4.TypeMeta{APIVersion: "kind.x-k8s.io/v1alpha4", Kind: "Cluster"},
		Name:       s.Name,
		Networking: v1alpha4.Networking{APIServerAddress: "127.0.0.1", APIServerPort: int32(s.APIPort)},
		Nodes: []v1alpha4.Node{{
			Role:        v1alpha4.ControlPlaneRole,
			Image:       s.Image,
			ExtraMounts: []v1alpha4.Mount{{HostPath: s.Files, ContainerPath: filesMount, Readonly: true}},
		}},
	}
	for _, path := range slices.Sorted(maps.Keys(s.patienceFiles())) {
		cluster.Nodes[0].ExtraMounts = append(cluster.Nodes[0].ExtraMounts, v1alpha4.Mount{
			HostPath: filepath.Join(s.Files, path), ContainerPath: systemdFolder + strings.TrimPrefix(path, patienceFolder), Readonly: true,
		})
	}
	for _, port := range s.Ports {
		cluster.Nodes[0].ExtraPortMappings = append(cluster.Nodes[0].ExtraPortMappings, v1alpha4.PortMapping{
			ContainerPort: int32(port), HostPort: int32(port), ListenAddress: "127.0.0.1", Protocol: v1alpha4.PortMappingProtocolTCP,
		})
	}
	s.addNodes(cluster)
	for _, p := range patches {
		text, err := yaml.Marshal(p)
		if err != nil {
			return nil, err
		}
		cluster.KubeadmConfigPatches = append(cluster.KubeadmConfigPatches, string(text))
	}
	return overlaid(cluster, s.Nodes.Kind)
}

// addNodes adds what the profile says of nodes. Its patches stand before
// devenv's own, which so have the last word.
func (s *Spec) addNodes(cluster *v1alpha4.Cluster) {
	first := &cluster.Nodes[0]
	for _, p := range s.Nodes.ExtraPortMappings {
		first.ExtraPortMappings = append(first.ExtraPortMappings, v1alpha4.PortMapping{
			ContainerPort: int32(p.ContainerPort), HostPort: int32(p.HostPort),
			ListenAddress: cmp.Or(p.ListenAddress, "127.0.0.1"), Protocol: v1alpha4.PortMappingProtocol(cmp.Or(p.Protocol, "TCP")),
		})
	}
	for _, m := range s.Nodes.ExtraMounts {
		first.ExtraMounts = append(first.ExtraMounts, v1alpha4.Mount{HostPath: m.HostPath, ContainerPath: m.ContainerPath, Readonly: m.ReadOnly})
	}
	for range max(1, s.Nodes.ControlPlanes) - 1 {
		cluster.Nodes = append(cluster.Nodes, v1alpha4.Node{Role: v1alpha4.ControlPlaneRole, Image: s.Image, ExtraMounts: first.ExtraMounts})
	}
	for range s.Nodes.Workers {
		cluster.Nodes = append(cluster.Nodes, v1alpha4.Node{Role: v1alpha4.WorkerRole, Image: s.Image, ExtraMounts: first.ExtraMounts})
	}
	cluster.FeatureGates = s.Nodes.FeatureGates
	cluster.KubeadmConfigPatches = slices.Clone(s.Nodes.KubeadmConfigPatches)
}

// overlaid lays fields of kind's configuration over a cluster: maps are merged,
// lists added to, anything else replaced.
func overlaid(cluster *v1alpha4.Cluster, overlay map[string]any) (*v1alpha4.Cluster, error) {
	if len(overlay) == 0 {
		return cluster, nil
	}
	text, err := yaml.Marshal(cluster)
	if err != nil {
		return nil, err
	}
	var base map[string]any
	if err := yaml.Unmarshal(text, &base); err != nil {
		return nil, err
	}
	if text, err = yaml.Marshal(merge(base, overlay)); err != nil {
		return nil, err
	}
	var result v1alpha4.Cluster
	if err := yaml.UnmarshalStrict(text, &result); err != nil {
		return nil, err
	}
	return &result, nil
}

func merge(base, over map[string]any) map[string]any {
	for name, value := range over {
		switch value := value.(type) {
		case map[string]any:
			if below, ok := base[name].(map[string]any); ok {
				base[name] = merge(below, value)
				continue
			}
		case []any:
			if below, ok := base[name].([]any); ok {
				base[name] = append(below, value...)
				continue
			}
		}
		base[name] = value
	}
	return base
}

// OverlayMistake says what is wrong with fields of kind's configuration, which
// kind itself would read: unknown names, wrong types.
func OverlayMistake(overlay map[string]any) error {
	_, err := overlaid(&v1alpha4.Cluster{}, overlay)
	if err == nil {
		return nil
	}
	_, said, _ := strings.Cut(err.Error(), "json: ") // what stands before it is about how it was read
	return errors.New(cmp.Or(said, err.Error()))
}

// writeFiles writes what kubeadm reads from Spec.Files.
func (s *Spec) writeFiles() error {
	apiServer := map[string]any{}
	if len(s.HostAliases) > 0 {
		apiServer["hostAliases"] = []any{map[string]any{"ip": "127.0.0.1", "hostnames": s.HostAliases}}
	}
	patches := map[string]any{"kube-apiserver": map[string]any{"spec": apiServer}}
	if s.atLeast("v1.37.0") {
		// Whoever configures CoreDNS then starts it: once, not twice.
		patches["corednsdeployment"] = map[string]any{"spec": map[string]any{
			"replicas": 0,
			"template": map[string]any{"spec": map[string]any{"containers": []any{
				map[string]any{"name": "coredns", "readinessProbe": map[string]any{"periodSeconds": 1}},
			}}},
		}}
	}
	files := map[string][]byte{}
	for target, patch := range patches {
		text, err := yaml.Marshal(patch)
		if err != nil {
			return err
		}
		files[filepath.Join("patches", target+"0+strategic.yaml")] = text
	}
	for name, text := range s.patienceFiles() {
		files[name] = []byte(text)
	}
	for name, text := range files {
		path := filepath.Join(s.Files, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("could not write the node's files: %w", err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return fmt.Errorf("could not write the node's files: %w", err)
		}
	}
	return nil
}

// atLeast says whether the cluster's Kubernetes is of a version or a later one.
func (s *Spec) atLeast(wanted string) bool {
	v, err := version.ParseSemantic(s.KubernetesVersion)
	return err == nil && v.AtLeast(version.MustParseSemantic(wanted))
}

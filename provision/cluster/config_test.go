package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/devenv-oidc/devenv/provision/failure"
)

func testSpec(version string, files string) *Spec {
	return &Spec{
		Name: "devenv-dev-main", Image: "node:" + version, KubernetesVersion: version, APIPort: 40001, Ports: []int{30001},
		Files: files, HostAliases: []string{"dex.dev.localhost"},
		APIServerArgs: map[string]string{"oidc-issuer-url": "https://dex.dev.localhost:30001", "oidc-client-id": "kubernetes", "oidc-groups-prefix": "oidc:"},
	}
}

// kind's own template and merge are internal packages, so the test builds a
// program inside a copy of kind's module: the one that go.mod pins.
const mergeProgram = `package main

import (
	"encoding/json"
	"os"

	"sigs.k8s.io/kind/pkg/cluster/internal/kubeadm"
	"sigs.k8s.io/kind/pkg/internal/patch"
)

func main() {
	var in struct {
		Version string
		Patches []string
	}
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		panic(err)
	}
	config, err := kubeadm.Config(kubeadm.ConfigData{
		ClusterName: "c", KubernetesVersion: in.Version, ControlPlane: true, ControlPlaneEndpoint: "c:6443", APIBindPort: 6443,
		NodeAddress: "10.0.0.2", NodeName: "c-control-plane", PodSubnet: "10.244.0.0/16", ServiceSubnet: "10.96.0.0/16", KubeProxyMode: "iptables",
	})
	if err != nil {
		panic(err)
	}
	merged, err := patch.KubeYAML(config, in.Patches, nil)
	if err != nil {
		panic(err)
	}
	os.Stdout.WriteString(merged)
}
`

func buildMerge(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kind").Output()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	module := filepath.Join(folder, "kind")
	if err := os.CopyFS(module, os.DirFS(strings.TrimSpace(string(out)))); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(module, "pkg", "cluster", "internal", "merge")
	if err := os.MkdirAll(program, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(program, "main.go"), []byte(mergeProgram), 0o644); err != nil {
		t.Fatal(err)
	}
	// with the versions of the project's own go.mod, which are there
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if name == "go.mod" {
			text = fmt.Appendf(text, "\nreplace sigs.k8s.io/kind => %s\n", module)
		}
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	binary := filepath.Join(folder, "merge")
	build := exec.Command("go", "build", "-modfile="+filepath.Join(folder, "go.mod"), "-o", binary, "sigs.k8s.io/kind/pkg/cluster/internal/merge")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return binary
}

// Both generations of kubeadm's configuration, through kind's own template and
// merge: every flag must arrive, because a patch that does not match is dropped
// without an error.
func TestFlagsArriveInBothKubeadmGenerations(t *testing.T) {
	merge := buildMerge(t)
	for version, generation := range map[string]string{"v1.34.4": "v1beta3", "v1.35.1": "v1beta3", "v1.36.0": "v1beta4", "v1.37.0": "v1beta4"} {
		t.Run(version, func(t *testing.T) {
			spec := testSpec(version, t.TempDir())
			config, err := spec.config()
			if err != nil {
				t.Fatal(err)
			}
			in, err := json.Marshal(map[string]any{"Version": version, "Patches": config.KubeadmConfigPatches})
			if err != nil {
				t.Fatal(err)
			}
			command := exec.Command(merge)
			command.Stdin = bytes.NewReader(in)
			out, err := command.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			documents := map[string]map[string]any{}
			for _, text := range strings.Split(string(out), "\n---\n") {
				document := map[string]any{}
				if err := yaml.Unmarshal([]byte(text), &document); err != nil {
					t.Fatal(err)
				}
				documents[fmt.Sprint(document["kind"])] = document
			}
			clusterConfig := documents["ClusterConfiguration"]
			if got := clusterConfig["apiVersion"]; got != "kubeadm.k8s.io/"+generation {
				t.Fatalf("the generation is %v", got)
			}
			have := arguments(t, clusterConfig["apiServer"])
			for name, value := range spec.APIServerArgs {
				if have[name] != value {
					t.Errorf("--%s is %q, want %q", name, have[name], value)
				}
			}
			if _, ok := have["runtime-config"]; !ok {
				t.Error("kind's own flag is gone")
			}
			for _, part := range []string{"controllerManager", "scheduler"} {
				if arguments(t, clusterConfig[part])["leader-elect"] != "false" {
					t.Errorf("%s elects a leader", part)
				}
			}
			patches, _ := documents["InitConfiguration"]["patches"].(map[string]any)
			if patches["directory"] != "/etc/devenv/patches" {
				t.Errorf("patches are %v", patches)
			}
			backOff := documents["KubeletConfiguration"]["crashLoopBackOff"]
			if wants := version >= "v1.35"; (backOff != nil) != wants {
				t.Errorf("crashLoopBackOff is %v", backOff)
			}
		})
	}
}

// arguments reads extraArgs, a map in v1beta3 and a list in v1beta4.
func arguments(t *testing.T, component any) map[string]string {
	t.Helper()
	flags := map[string]string{}
	switch extra := component.(map[string]any)["extraArgs"].(type) {
	case map[string]any:
		for name, value := range extra {
			flags[name] = fmt.Sprint(value)
		}
	case []any:
		for _, item := range extra {
			argument := item.(map[string]any)
			flags[fmt.Sprint(argument["name"])] = fmt.Sprint(argument["value"])
		}
	default:
		t.Errorf("extraArgs is a %T", extra)
	}
	return flags
}

func TestConfigListensOnTheLoopbackAlone(t *testing.T) {
	config, err := testSpec("v1.37.0", "/state/node").config()
	if err != nil {
		t.Fatal(err)
	}
	node := config.Nodes[0]
	if config.Networking.APIServerAddress != "127.0.0.1" || config.Networking.APIServerPort != 40001 {
		t.Errorf("%+v", config.Networking)
	}
	if m := node.ExtraPortMappings; len(m) != 1 || m[0].ListenAddress != "127.0.0.1" || m[0].HostPort != 30001 || m[0].ContainerPort != 30001 {
		t.Errorf("%+v", m)
	}
	if m := node.ExtraMounts; len(m) != 1 || m[0].HostPath != "/state/node" || m[0].ContainerPath != "/etc/devenv" || !m[0].Readonly {
		t.Errorf("%+v", m)
	}
}

func TestWriteFilesGivesTheAPIServerItsNames(t *testing.T) {
	spec := testSpec("v1.37.0", t.TempDir())
	if err := spec.writeFiles(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(spec.Files, "patches", "kube-apiserver0+strategic.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "spec:\n  hostAliases:\n  - hostnames:\n    - dex.dev.localhost\n    ip: 127.0.0.1\n"; string(text) != want {
		t.Errorf("%s", text)
	}
}

func TestMissingFlags(t *testing.T) {
	want := map[string]string{"oidc-client-id": "kubernetes"}
	if err := missingFlags(want, []string{"kube-apiserver", "--oidc-client-id=kubernetes"}); err != nil {
		t.Error(err)
	}
	err := missingFlags(want, []string{"kube-apiserver", "--oidc-client-id=other"})
	if err == nil || !strings.Contains(err.Error(), "--oidc-client-id=kubernetes") {
		t.Error(err)
	}
}

func TestClassifyPort(t *testing.T) {
	for text, port := range map[string]int{
		"docker: Error response from daemon: Bind for 127.0.0.1:30001 failed: port is already allocated.": 30001,
		"listen tcp4 127.0.0.1:32443: bind: address already in use":                                       32443,
		"rootlessport listen tcp 127.0.0.1:31000: bind: address already in use":                           31000,
	} {
		taken, ok := classifyPort(fmt.Errorf("%s", text)).(*failure.PortTakenError)
		if !ok || taken.Port != port {
			t.Errorf("%s: %v", text, taken)
		}
	}
	other := fmt.Errorf("no such image")
	if classifyPort(other) != other {
		t.Error("another error was taken for a port")
	}
}

func TestCutTag(t *testing.T) {
	for ref, want := range map[string]string{"quay.io/a/b:v1": "quay.io/a/b", "localhost:5000/a": "localhost:5000/a", "localhost:5000/a:v1": "localhost:5000/a"} {
		if got, _, _ := cutTag(ref); got != want {
			t.Errorf("%s: %s", ref, got)
		}
	}
}

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision"
	"github.com/devenv-oidc/devenv/provision/cluster"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/kindruntime"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/process"
	"github.com/devenv-oidc/devenv/provision/processruntime"
	"github.com/devenv-oidc/devenv/provision/programs"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/runtimetest"
	"github.com/devenv-oidc/devenv/provision/state"
)

// keep and kept store a namespace, and look for it.
func keep(ctx context.Context, kubeconfig []byte) error {
	client, err := kube.New(kubeconfig)
	if err != nil {
		return err
	}
	_, err = client.Core.CoreV1().Namespaces().Apply(ctx, applycorev1.Namespace("kept"), metav1.ApplyOptions{FieldManager: "test"})
	return err
}

func kept(ctx context.Context, kubeconfig []byte) error {
	client, err := kube.New(kubeconfig)
	if err != nil {
		return err
	}
	_, err = client.Core.CoreV1().Namespaces().Get(ctx, "kept", metav1.GetOptions{})
	return err
}

// The runtimes of the shared environments, and of environments that were never
// made: those differ from them in nothing but the name.
func TestRuntimesConform(t *testing.T) {
	onBoth(t, func(t *testing.T, name string) {
		r, err := record.Load(state.Home(home).Dir(name))
		if err != nil {
			t.Fatal(err)
		}
		up := runtimetest.Environment{Open: opener(r), Cluster: "main", Folder: filepath.Join(t.TempDir(), "logs")}
		if err := runtimetest.CheckRunning(t.Context(), up); err != nil {
			t.Errorf("running: %v", err)
		}
		absent := *r
		absent.Name = "e2e-absent"
		if err := runtimetest.CheckAbsent(t.Context(), runtimetest.Environment{Open: opener(&absent), Cluster: "main"}); err != nil {
			t.Errorf("absent: %v", err)
		}
	})
}

func opener(r *record.Record) func() provision.Runtime {
	return map[string]func() provision.Runtime{
		profiles.RuntimeKind: func() provision.Runtime {
			return kindruntime.New(environment.New(state.Home(home), r, kindruntime.Traits))
		},
		profiles.RuntimeProcess: func() provision.Runtime {
			return processruntime.New(environment.New(state.Home(home), r, processruntime.Traits))
		},
	}[r.Runtime]
}

func ownPins(t *testing.T) (pins profiles.Pins, version string) {
	t.Helper()
	pins, err := profiles.PinnedWith(os.Getenv("DEVENV_SOURCES"))
	if err != nil {
		t.Fatal(err)
	}
	return pins, pins.DefaultKubernetes
}

func conforms(t *testing.T, s runtimetest.Subject) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	s.Keep, s.Kept, s.Folder = keep, kept, filepath.Join(t.TempDir(), "logs")
	if err := runtimetest.Check(ctx, s); err != nil {
		t.Error(err)
	}
}

func TestProcessConforms(t *testing.T) {
	t.Parallel()
	pins, version := ownPins(t)
	image := pins.NodeImages[version]
	files, _, err := programs.Ensure(t.Context(), filepath.Join(home, ".programs"), programs.Source{Image: image.Image, Archive: image.Archive},
		"etcd", "kube-apiserver", "kube-controller-manager")
	if err != nil {
		t.Fatal(err)
	}
	const name = "e2e-conforms"
	folder, ports := filepath.Join(home, name), freePorts(t, 3)
	defer os.RemoveAll(folder)
	conforms(t, runtimetest.Subject{
		New: func() runtimetest.Cluster {
			return process.New(process.ClusterSpec{
				Name: "main", Folder: folder,
				Programs: process.Programs{Etcd: files["etcd"], APIServer: files["kube-apiserver"], ControllerManager: files["kube-controller-manager"]},
				APIPort:  ports[0], EtcdPort: ports[1], EtcdPeerPort: ports[2],
			})
		},
		Kill: func() error { kill(t, running(t, name)...); return nil },
	})
}

func TestKindConforms(t *testing.T) {
	needShared(t) // its image is in the engine
	_, version := ownPins(t)
	engine, err := cluster.FindEngine(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(home, "e2e-conforms-kind")
	files := filepath.Join(folder, "node")
	if err := os.MkdirAll(files, 0o700); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	const name = "devenv-e2e-conforms"
	ports := freePorts(t, 2)
	image := docker(t, "inspect", "--format={{.Config.Image}}", node(shared))
	conforms(t, runtimetest.Subject{
		New: func() runtimetest.Cluster {
			return cluster.New(engine, cluster.Spec{
				Name: name, Image: image, KubernetesVersion: version, APIPort: ports[0], Ports: ports[1:],
				Files: files, HostAliases: []string{"issuer.localhost"}, Kubeconfig: filepath.Join(folder, "kubeconfig"),
			}, &strings.Builder{})
		},
		Kill: func() error {
			docker(t, "stop", "--time=1", name+"-control-plane")
			return nil
		},
	})
}

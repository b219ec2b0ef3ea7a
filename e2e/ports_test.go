package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/programs"
)

func TestPortTaken(t *testing.T) {
	needShared(t)
	var listener net.Listener
	port := 32700
	for ; listener == nil; port++ {
		listener, _ = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	}
	port--
	defer listener.Close()
	devenv(t, "up", "--name", "e2e-port", "--set", fmt.Sprintf("spec.dex.port=%d", port)).
		wants(t, 3, fmt.Sprintf("port %d on 127.0.0.1 is taken", port), "hint: see what listens there: ss -ltnp", "hint: or choose another one in the profile: spec.dex.port", "hint: or delete it: devenv down --name e2e-port")
	must(t, "down", "--name", "e2e-port")
	nothingLeft(t, "e2e-port")
}

// A port of the API server is known to others, and kept; those of etcd and of
// Dex's administration are not.
func TestPortTakenWhileStopped(t *testing.T) {
	t.Parallel()
	const name = "e2e-ports"
	must(t, "up", "--name", name, "--runtime", "process")
	defer devenv(t, "down", "--name", name)
	var record struct{ APIPorts, InternalPorts map[string]int }
	read := func() {
		text, err := os.ReadFile(filepath.Join(home, name, "environment.json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &record); err != nil {
			t.Fatal(err)
		}
	}
	take := func(port int) net.Listener {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	read()
	kill(t, running(t, name)...)
	api := take(record.APIPorts["main"])
	devenv(t, "up", "--name", name).wants(t, 3, fmt.Sprintf("port %d on 127.0.0.1 is taken", record.APIPorts["main"]))
	api.Close()
	kill(t, running(t, name)...)
	etcd, admin := record.InternalPorts["main.etcd"], record.InternalPorts["dex.grpc"]
	defer take(etcd).Close()
	defer take(admin).Close()
	must(t, "up", "--name", name)
	read()
	if record.InternalPorts["main.etcd"] == etcd || record.InternalPorts["dex.grpc"] == admin {
		t.Errorf("the ports are %v", record.InternalPorts)
	}
}

// Somebody takes a port between its choice and its use: kube-apiserver itself
// finds it taken, because what is called so here takes it first.
func TestPortTakenUnderneath(t *testing.T) {
	t.Parallel()
	const name = "e2e-raced"
	sources := racingSources(t)
	r := runWith(t, []string{"DEVENV_SOURCES=" + sources}, "up", "--name", name, "--runtime", "process")
	r.wants(t, 3, "after it was chosen: choosing other ports", "error: ", "127.0.0.1 is taken", "hint: see what listens there: ss -ltnp", "hint: or let devenv choose other ports: devenv down --name "+name)
	kill(t, running(t, name)...)
	must(t, "down", "--name", name)
	noProcessLeft(t, name)
}

// racer is what the test program is called by when it plays kube-apiserver.
const racer = "kube-apiserver"

// race takes the port that kube-apiserver is to have, and then runs the real one.
func race() {
	port := ""
	for _, argument := range os.Args {
		if p, ok := strings.CutPrefix(argument, "--secure-port="); ok {
			port = p
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		panic(err)
	}
	real, err := os.ReadFile(filepath.Join(os.Getenv("HOME"), "..", ".real-"+racer))
	if err != nil {
		panic(err)
	}
	genuine := &exec.Cmd{Path: string(real), Args: os.Args, Stdout: os.Stdout, Stderr: os.Stderr}
	_ = genuine.Run()
	l.Close()
	os.Exit(1)
}

// racingSources are the sources of all tests, but for a kube-apiserver that
// races with itself.
func racingSources(t *testing.T) string {
	t.Helper()
	pins, version := ownPins(t)
	image := pins.NodeImages[version]
	files, _, err := programs.Ensure(t.Context(), filepath.Join(home, ".programs"), programs.Source{Image: image.Image, Archive: image.Archive},
		"etcd", racer, "kube-controller-manager", "kubectl")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".real-"+racer), []byte(files[racer]), 0o600); err != nil {
		t.Fatal(err)
	}
	if files[racer], err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	pins.Programs = profiles.Programs{Kubernetes: map[string]map[string]string{version: files}}
	pins.DefaultKubernetes = ""
	text, err := yaml.Marshal(pins)
	if err != nil {
		t.Fatal(err)
	}
	sources := filepath.Join(t.TempDir(), "sources.yaml")
	if err := os.WriteFile(sources, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return sources
}

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/devenv-oidc/devenv/profiles"
)

// On a machine with no engine and no kubectl, the first command makes and
// proves an environment, and one line says what that leaves out.
func TestWithoutAnyEngine(t *testing.T) {
	t.Parallel()
	const name = "e2e-bare"
	environ := withoutEngine(t)
	r := runWith(t, environ, "up", "--name", name)
	r.wants(t, 0, " ! no container engine: none of docker, podman and nerdctl is on PATH: using plain processes, which leaves out nodes, pods, charts and cert-manager\n", "e2e-bare is ready and proven")
	runWith(t, environ, "check", "--name", name).wants(t, 0, "✓ kubectl auth whoami says admin@example.com", ", 0 failed")
	if s := statusOf(t, name); s.Runtime != "process" || !s.Ready || !strings.HasPrefix(s.Issuer.URL, "https://localhost:") {
		t.Errorf("runtime %s, ready %v, issuer %s", s.Runtime, s.Ready, s.Issuer.URL)
	}
	// where there is an engine, it stays what it is
	devenv(t, "up", "--name", name, "--runtime", "kind").wants(t, 2, "spec.runtime: process → kind", "--recreate")
	must(t, "up", "--name", name)
	ports := portsOf(t, name)
	runWith(t, environ, "down", "--name", name).wants(t, 0, "deleted")
	noProcessLeft(t, name, ports...)
}

func TestMissingImage(t *testing.T) {
	sources := filepath.Join(t.TempDir(), "sources.yaml")
	text := "nodeImages:\n  " + profiles.Pinned().DefaultKubernetes + ": {image: 'devenv-lab/none:v0', archive: none.tar}\n"
	if own := os.Getenv("DEVENV_SOURCES"); own != "" { // keep its charts
		pins, err := profiles.PinnedWith(own)
		if err != nil {
			t.Fatal(err)
		}
		text += "charts:\n  dex: {path: " + pins.Charts["dex"].Path + ", version: x, images: {}}\n  cert-manager: {path: " + pins.Charts["cert-manager"].Path + ", version: x, images: {}}\n"
	}
	if err := os.WriteFile(sources, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	runWith(t, []string{"DEVENV_SOURCES=" + sources}, "up", "--name", "e2e-image").wants(t, 3, "could not get the image devenv-lab/none:v0", "hint: ")
	must(t, "down", "--name", "e2e-image")
	nothingLeft(t, "e2e-image")
}

// A pod that cannot start ends the wait with its own event, and putting it
// right needs nothing but another up.
func TestFailureQuotesThePod(t *testing.T) {
	needShared(t)
	devenv(t, "up", "--name", beside, "--set", "spec.dex.values.image.tag=no-such-tag").
		wants(t, 4, "gave up while waiting for Deployment dex/dex: the image ghcr.io/dexidp/dex:no-such-tag cannot be pulled: ImagePullBackOff", "event: Failed", "hint: continue where it stopped: devenv up --name "+beside)
	if s := statusOf(t, beside); s.Ready {
		t.Error("status says that it is ready")
	}
	must(t, "up", "--name", beside)
	must(t, "check", "--name", beside)
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	up := []string{"up", "--runtime", "process"}
	runWith(t, []string{"DEVENV_HOME=" + small(t, "8m")}, up...).wants(t, 3, "cannot be made on this machine: ", "hint: free some space: df -h", "hint: and look at the rest: devenv doctor")

	// and full after that was looked at
	folder := small(t, "256m")
	environ := []string{"DEVENV_HOME=" + folder}
	runWith(t, environ, append(up, "--timeout=1ns")...).wants(t, 4)
	filler := filepath.Join(folder, ".filler")
	if err := os.WriteFile(filler, make([]byte, 248<<20), 0o600); err != nil { // etcd wants 64 MB for its log
		t.Fatal(err)
	}
	runWith(t, environ, up...).wants(t, 3, "error: ", "no space left on device", "hint: free some space there, or choose another folder by DEVENV_HOME")
	runWith(t, environ, "down").wants(t, 0, "deleted")
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 1 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestReadOnlyState(t *testing.T) {
	t.Parallel()
	folder := small(t, "1m")
	environ := []string{"DEVENV_HOME=" + folder}
	if err := syscall.Mount("", folder, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"up", "down"} {
		runWith(t, environ, command).wants(t, 3, "error: ", "read-only file system", "hint: choose a folder that you can write to by DEVENV_HOME")
	}
	runWith(t, environ, "list").wants(t, 0)
}

package e2e

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/devenv-oidc/devenv/provision"
)

// An image that was built on this machine, twice, is what a pod runs; what is
// there already is not loaded again, whichever way it comes.
func TestLoad(t *testing.T) {
	needShared(t)
	const ref, full = "devenv-e2e/app:dev", "docker.io/devenv-e2e/app:dev"
	t.Cleanup(func() { _ = exec.Command("docker", "image", "rm", "--force", ref).Run() })
	admin := statusOf(t, shared).Clusters[0].Kubeconfig
	build := func(says string) {
		t.Helper()
		folder := t.TempDir()
		noError(t, os.WriteFile(filepath.Join(folder, "main.go"), fmt.Appendf(nil, "package main\n\nfunc main() { println(%q) }\n", says), 0o600))
		c := exec.Command("go", "build", "-o", "app", "main.go")
		c.Dir, c.Env = folder, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		program, err := os.ReadFile(filepath.Join(folder, "app"))
		noError(t, err)
		var archive bytes.Buffer
		w := tar.NewWriter(&archive)
		noError(t, w.WriteHeader(&tar.Header{Name: "app", Mode: 0o755, Size: int64(len(program))}))
		_, err = w.Write(program)
		noError(t, err)
		noError(t, w.Close())
		in := exec.Command("docker", "import", "--change", `ENTRYPOINT ["/app"]`, "-", ref)
		in.Stdin = &archive
		if out, err := in.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	runs := func(pod, says string) {
		t.Helper()
		mustKubectl(t, admin, "run", pod, "--image="+ref, "--image-pull-policy=Never", "--restart=Never")
		defer mustKubectl(t, admin, "delete", "pod", pod, "--wait=false")
		eventually(t, "the pod "+pod, 30*time.Second, func() error {
			out, err := kubectl(t, admin, "logs", pod)
			if err == nil && out != says+"\n" {
				err = fmt.Errorf("it says %q", out)
			}
			return err
		})
	}

	build("the first")
	devenv(t, "load", "--name", shared, ref).wants(t, 0, " ✓ loaded: "+full+" in main")
	runs("load-1", "the first")
	devenv(t, "load", "--name", shared, ref).wants(t, 0, " · there already: "+full)
	archive := filepath.Join(t.TempDir(), "app.tar")
	docker(t, "save", "--output", archive, ref)
	devenv(t, "load", "--name", shared, archive).wants(t, 0, " · there already: "+full)

	build("the second")
	devenv(t, "load", "--name", shared, archive, ref).wants(t, 0, " · there already: "+full, " ✓ loaded: "+full) // in this order
	runs("load-2", "the second")
	var list []provision.Loaded
	noError(t, json.Unmarshal([]byte(must(t, "load", "--name", shared, archive, "--cluster", "main", "--output", "json").stdout), &list))
	if len(list) != 1 || list[0] != (provision.Loaded{Image: full, Cluster: "main", Changed: true}) {
		t.Errorf("%+v", list)
	}
	runs("load-3", "the first")

	// the profile's own, by the same step as devenv's
	up := must(t, "up", "--name", shared, "--set", "spec.clusters[0].images=["+ref+"]")
	up.wants(t, 0, "✓ Load images into node")
	runs("load-4", "the second")
	must(t, "up", "--name", shared).wants(t, 0, "· Load images into node")

	docker(t, "image", "rm", "--force", ref)
	devenv(t, "load", "--name", shared, ref).wants(t, 2, "docker has no image "+ref, "hint: build it: docker build --tag "+ref+" .", "hint: or pull it: docker pull "+ref)
	devenv(t, "load", "--name", shared, "./absent.tar").wants(t, 2, "could not read images from ./absent.tar: stat ./absent.tar: no such file or directory")
	devenv(t, "load", "--name", shared, "--cluster", "other", archive).wants(t, 2, `there is no cluster "other"`, "hint: the clusters are: main")
	devenv(t, "load", "--name", shared).wants(t, 2, "no image is named")
	needPlain(t)
	devenv(t, "load", "--name", plain, archive).wants(t, 2, "runs as plain processes, which run no images")
}

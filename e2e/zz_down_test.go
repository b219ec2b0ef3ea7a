package e2e

import (
	"os"
	"strings"
	"testing"
)

// Last, by the name of its file, of those that share environments: these go, and
// nothing stays.
func TestZDownLeavesNothing(t *testing.T) {
	needShared(t)
	owned := strings.Fields(docker(t, "inspect", "--format={{range .Mounts}}{{.Name}} {{end}}", node(shared), node(beside)))
	must(t, "down", "--name", shared)
	nothingLeft(t, shared)
	must(t, "check", "--name", beside)
	needPlain(t)
	ports := portsOf(t, plain)
	must(t, "down", "--all")
	nothingLeft(t, beside)
	noProcessLeft(t, plain, ports...)
	left := volumes(t)
	for _, volume := range owned {
		if strings.Contains(left, volume) {
			t.Errorf("volume %s is left", volume)
		}
	}
	entries, err := os.ReadDir(home)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != ".kubectl" && e.Name() != holding {
			t.Errorf("state: %s", e.Name())
		}
	}
}

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestListShowsBoth(t *testing.T) {
	needShared(t)
	var list []struct {
		Name  string
		Ready bool
	}
	if err := json.Unmarshal([]byte(must(t, "list", "--output", "json").stdout), &list); err != nil {
		t.Fatal(err)
	}
	ready := map[string]bool{}
	for _, l := range list {
		ready[l.Name] = l.Ready
	}
	if !ready[shared] || !ready[beside] {
		t.Errorf("%v", list)
	}
}

func TestLogs(t *testing.T) {
	needShared(t)
	folder := filepath.Join(t.TempDir(), "logs")
	r := must(t, "logs", "--name", shared, folder)
	if strings.TrimSpace(r.stdout) != folder {
		t.Errorf("stdout: %s", r.stdout)
	}
	found, err := filepath.Glob(filepath.Join(folder, node(shared), "pods", "kube-system_kube-apiserver-*", "kube-apiserver", "*.log"))
	if err != nil || len(found) == 0 {
		t.Errorf("no log of the API server: %v", err)
	}
}

func TestLogsOfProcesses(t *testing.T) {
	needPlain(t)
	folder := filepath.Join(t.TempDir(), "logs")
	must(t, "logs", "--name", plain, folder)
	for _, log := range []string{"dex.log", "main.etcd.log", "main.kube-apiserver.log", "main.kube-controller-manager.log"} {
		if info, err := os.Stat(filepath.Join(folder, log)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", log, err)
		}
	}
}

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/devenv-oidc/devenv/provision"
)

func pidOf(t testing.TB, name, process string) int {
	t.Helper()
	return processOf(t, name, process).PID
}

func processOf(t testing.TB, name, process string) provision.ProcessStatus {
	t.Helper()
	s := statusOf(t, name)
	i := slices.IndexFunc(s.Processes, func(p provision.ProcessStatus) bool { return p.Name == process })
	if i < 0 {
		t.Fatalf("%s has no process %s: %v", name, process, s.Processes)
	}
	return s.Processes[i]
}

// portsOf are all ports that an environment's record has.
func portsOf(t testing.TB, name string) []int {
	t.Helper()
	var record struct {
		IssuerPort              int
		APIPorts, InternalPorts map[string]int
	}
	text, err := os.ReadFile(filepath.Join(home, name, "environment.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &record); err != nil {
		t.Fatal(err)
	}
	ports := []int{record.IssuerPort}
	for _, list := range []map[string]int{record.APIPorts, record.InternalPorts} {
		for _, port := range list {
			ports = append(ports, port)
		}
	}
	return ports
}

// running are the numbers of all processes that were started for an
// environment, by what they have in their own environment: devenv's records
// are not asked.
func running(t testing.TB, name string) []int {
	t.Helper()
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, folder := range folders {
		environ, err := os.ReadFile(filepath.Join(folder, "environ"))
		if err == nil && bytes.Contains(environ, []byte(filepath.Join(home, name)+"/")) && len(environ) < 1000 {
			pid, _ := strconv.Atoi(filepath.Base(folder))
			pids = append(pids, pid)
		}
	}
	return pids
}

// kill ends a process and waits until it is gone.
func kill(t testing.TB, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the end of killed processes", 10*time.Second, func() error {
		for _, pid := range pids {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if err != nil {
				continue
			}
			// a zombie whose other threads are gone too (proc_pid_stat(5), fields 3 and 20)
			fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
			if fields[0] != "Z" || fields[17] != "1" {
				return fmt.Errorf("%d is there", pid)
			}
		}
		return nil
	})
}

// noProcessLeft fails if a process, a port or a file of an environment is left.
func noProcessLeft(t testing.TB, name string, ports ...int) {
	t.Helper()
	if pids := running(t, name); len(pids) > 0 {
		t.Errorf("processes of %s: %v", name, pids)
	}
	for _, port := range ports {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Errorf("port of %s: %v", name, err)
			continue
		}
		l.Close()
	}
	entries, err := os.ReadDir(home)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.TrimSuffix(strings.TrimPrefix(e.Name(), "."), ".lock") == name {
			t.Errorf("state: %s", e.Name())
		}
	}
}

// withoutEngine is a PATH with nothing on it but what is named.
func withoutEngine(t *testing.T, programs ...string) []string {
	t.Helper()
	bin := t.TempDir()
	for _, p := range programs {
		path, err := exec.LookPath(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, p)); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"PATH=" + bin}
}

// small is a folder on a file system of its own, of so many bytes.
func small(t *testing.T, size string) string {
	t.Helper()
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("this user may not mount a file system of its own: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, 0); err != nil {
			t.Error(err)
		}
	})
	return folder
}

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestInterruptedWhileTheClusterIsMade(t *testing.T) {
	needShared(t)
	const name = "e2e-stop"
	before := volumes(t)
	c, stderr := start(t, "Start node of cluster", "up", "--name", name)
	interrupted := time.Now()
	if err := syscall.Kill(-c.Process.Pid, syscall.SIGINT); err != nil { // as Ctrl-C does
		t.Fatal(err)
	}
	said := stderr()
	_ = c.Wait()
	if took := time.Since(interrupted); took > 15*time.Second {
		t.Errorf("it took %s to stop", took)
	}
	result{"", said, c.ProcessState.ExitCode()}.wants(t, 130, "error: interrupted; not done:", "hint: ", "devenv up --name "+name, "devenv down --name "+name)
	if out := docker(t, "ps", "-a", "--format={{.Names}}"); strings.Contains(out, name) {
		t.Errorf("a half-made cluster was left: %s", out)
	}
	must(t, "down", "--name", name)
	nothingLeft(t, name)
	if after := volumes(t); after != before {
		t.Errorf("volumes before:\n%s\nafter:\n%s", before, after)
	}
}

// Killed without a chance to clean up, and up again: what was left is replaced.
func TestKilledAndUpAgain(t *testing.T) {
	needShared(t)
	const name = "e2e-kill"
	before := volumes(t)
	c, stderr := start(t, "Start node of cluster", "up", "--name", name)
	if err := syscall.Kill(-c.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	stderr()
	_ = c.Wait()
	if s := statusOf(t, name); s.Ready || s.Clusters[0].State != "incomplete" {
		t.Errorf("ready %v, cluster %s", s.Ready, s.Clusters[0].State)
	}
	// up again, and interrupted when the cluster is there but not the rest
	c, stderr = start(t, "Complete cluster", "up", "--name", name)
	if err := syscall.Kill(-c.Process.Pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	said := stderr()
	_ = c.Wait()
	result{"", said, c.ProcessState.ExitCode()}.wants(t, 130, "continue where it stopped: devenv up --name "+name)
	id := docker(t, "inspect", "--format={{.Id}}", node(name))
	must(t, "up", "--name", name)
	if docker(t, "inspect", "--format={{.Id}}", node(name)) != id {
		t.Error("up made a new cluster instead of going on")
	}
	// half of it goes away behind devenv's back
	docker(t, "rm", "-f", "-v", node(name))
	devenv(t, "status", "--name", name).wants(t, 0, "absent", "does not answer")
	devenv(t, "check", "--name", name).wants(t, 4, "error: ", "hint: ", "devenv up --name "+name)
	must(t, "down", "--name", name)
	nothingLeft(t, name)
	devenv(t, "down", "--name", name).wants(t, 0, "nothing to delete")
	if after := volumes(t); after != before {
		t.Errorf("volumes before:\n%s\nafter:\n%s", before, after)
	}
}

// devenv itself is interrupted, or killed, at different times.
func TestInterruptedWhileProcessesStart(t *testing.T) {
	t.Parallel()
	const name = "e2e-int"
	c, stderr := start(t, "Start control plane", "up", "--name", name, "--runtime", "process")
	if err := syscall.Kill(-c.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	said := stderr()
	_ = c.Wait()
	result{"", said, c.ProcessState.ExitCode()}.wants(t, 130, "error: interrupted; not done:", "the incomplete cluster was removed; start again: devenv up --name "+name)
	if pids := running(t, name); len(pids) > 0 {
		t.Errorf("processes: %v", pids)
	}
	for _, until := range []string{"Create certificate authority", "Start control plane", "Start API server", "Seed clients and users", "Wait for first accepted token"} {
		c, stderr := start(t, until, "up", "--name", name, "--runtime", "process")
		if err := syscall.Kill(-c.Process.Pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		stderr()
		_ = c.Wait()
	}
	must(t, "up", "--name", name) // goes on from whatever there is
	must(t, "down", "--name", name)
	c, stderr = start(t, "Start Dex", "up", "--name", name, "--runtime", "process")
	if err := syscall.Kill(-c.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	stderr()
	_ = c.Wait()
	must(t, "up", "--name", name) // with another authority than what was left has
	// what is lost is the record of a process that has its ports
	if err := os.RemoveAll(filepath.Join(home, name, "processes")); err != nil {
		t.Fatal(err)
	}
	must(t, "up", "--name", name)
	if pids := running(t, name); len(pids) != 4 {
		t.Errorf("%d processes run", len(pids))
	}
	c, stderr = start(t, "Start API server", "up", "--name", name, "--set", "spec.clusters[0].trust.flags.groupsPrefix=other:", "--set", "spec.expectations=[]")
	_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
	stderr()
	_ = c.Wait()
	ports := portsOf(t, name)
	must(t, "down", "--name", name)
	noProcessLeft(t, name, ports...)
}

func TestKilledAltogetherAndDown(t *testing.T) {
	t.Parallel()
	const name = "e2e-dead"
	must(t, "up", "--name", name, "--runtime", "process")
	ports := portsOf(t, name)
	all := running(t, name)
	if len(all) != 4 {
		t.Errorf("%d processes run", len(all))
	}
	kill(t, all[:2]...) // half of it
	must(t, "down", "--name", name)
	noProcessLeft(t, name, ports...)

	must(t, "up", "--name", name, "--runtime", "process")
	ports = portsOf(t, name)
	kill(t, running(t, name)...)
	must(t, "down", "--name", name)
	noProcessLeft(t, name, ports...)
	devenv(t, "down", "--name", name).wants(t, 0, "nothing to delete")
}

// The state folder is deleted by hand, and what runs stays: `list` shows it,
// every command says what helps, and what they say helps.
func TestLostStateFolder(t *testing.T) {
	t.Parallel()
	for _, runtime := range []string{"process", "kind"} {
		t.Run(runtime, func(t *testing.T) {
			if runtime == "kind" {
				needShared(t)
			}
			t.Parallel()
			name := "e2e-lost-" + runtime
			must(t, "up", "--name", name, "--runtime", runtime)
			lose := func() {
				t.Helper()
				if err := os.RemoveAll(filepath.Join(home, name)); err != nil {
					t.Fatal(err)
				}
			}
			lose()
			left := map[string]string{"process": "processes", "kind": "containers"}[runtime] + ` of environment "` + name + `" are there, but not its record`
			devenv(t, "list").wants(t, 0, left)
			devenv(t, "check", "--name", name).wants(t, 2, left, "devenv down --name "+name, "devenv up --recreate --name "+name)
			devenv(t, "up", "--name", name, "--runtime", runtime).wants(t, 2, left, "devenv down --name "+name, "devenv up --recreate --name "+name)
			if _, err := os.Stat(filepath.Join(home, name)); err == nil {
				t.Error("a rejected up left a state folder")
			}
			must(t, "up", "--recreate", "--name", name, "--runtime", runtime)
			lose()
			if runtime == "kind" {
				other := runWith(t, []string{"DEVENV_HOME=" + t.TempDir()}, "up", "--name", name, "--runtime", runtime)
				other.wants(t, 3, "below the state folder "+home, "DEVENV_HOME="+home+" devenv down --name "+name)
			}
			devenv(t, "down", "--name", name).wants(t, 0, "deleted")
			if runtime == "process" {
				noProcessLeft(t, name)
			} else {
				nothingLeft(t, name)
			}
		})
	}
}

// As a reboot does: nothing runs, and `up` brings back everything with its data.
func TestKilledAltogetherAndUp(t *testing.T) {
	needPlain(t)
	admin := statusOf(t, plain).Clusters[0].Kubeconfig
	if _, err := kubectl(t, admin, "create", "namespace", "kept"); err != nil {
		t.Fatal(err)
	}
	before := portsOf(t, plain)
	kill(t, running(t, plain)...)
	if s := statusOf(t, plain); s.Ready || s.Clusters[0].State != "stopped" {
		t.Errorf("ready %v, cluster %s", s.Ready, s.Clusters[0].State)
	}
	devenv(t, "check", "--name", plain).wants(t, 4, "error: ", "hint: ", "devenv up --name "+plain)
	must(t, "up", "--name", plain)
	if _, err := kubectl(t, admin, "get", "namespace", "kept"); err != nil {
		t.Error(err)
	}
	after := portsOf(t, plain)
	slices.Sort(before)
	slices.Sort(after)
	if !slices.Equal(before, after) {
		t.Errorf("ports were %v and are %v", before, after)
	}
}

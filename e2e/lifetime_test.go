package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/devenv-oidc/devenv/provision"
)

// An environment ends with its owner or after its time, also when everything
// that could know of it was killed.
func TestLifetime(t *testing.T) {
	t.Parallel()
	state := t.TempDir() // of its own: every `up` deletes what is over
	const name = "e2e-life"
	run := func(args ...string) result { return runWith(t, []string{"DEVENV_HOME=" + state}, args...) }
	defer run("down", "--all")
	up := func(args ...string) result {
		return run(append([]string{"up", "--name", name, "--runtime", "process"}, args...)...)
	}
	folder := filepath.Join(state, name)
	owner := func() *exec.Cmd {
		t.Helper()
		c := exec.Command("sleep", "1000")
		noError(t, c.Start())
		t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
		return c
	}
	end := func(c *exec.Cmd) { _ = c.Process.Kill(); _ = c.Wait() }
	reaper := func() int {
		t.Helper()
		var record struct{ PID int }
		text, err := os.ReadFile(filepath.Join(folder, "processes", "reaper.json"))
		noError(t, err)
		noError(t, json.Unmarshal(text, &record))
		return record.PID
	}
	gone := func(after string) { t.Helper(); emptied(t, state, after) }

	first := owner()
	pid := fmt.Sprint(first.Process.Pid)
	up("--owner-pid", pid).wants(t, 0, "ready and proven", "ends by itself", "with process "+pid)
	run("list").wants(t, 0, "with process "+pid)
	var status provision.Status
	noError(t, json.Unmarshal([]byte(run("status", "--name", name, "--output", "json").stdout), &status))
	if l := status.Lifetime; l == nil || len(l.OwnerPIDs) != 1 || l.OwnerPIDs[0] != first.Process.Pid || l.Over != "" || len(status.Processes) != 4 {
		t.Errorf("lifetime %+v, %d processes", status.Lifetime, len(status.Processes))
	}
	run("gc", "--older-than", "10h").wants(t, 0)
	second := owner()
	up("--owner-pid", fmt.Sprint(second.Process.Pid)).wants(t, 0, "with processes "+pid+", ") // beside the first
	end(first)
	run("gc").wants(t, 0)
	run("check", "--name", name).wants(t, 0, ", 0 failed")
	end(second)
	gone("the end of both owners")

	// nobody is left who knows of it, and so it is found by the next who looks
	first = owner()
	up("--owner-pid", fmt.Sprint(first.Process.Pid)).wants(t, 0)
	kill(t, reaper())
	end(first)
	run("gc", "--dry-run").wants(t, 0, "environment "+name+": would be deleted: process ")
	run("check", "--name", name).wants(t, 0, ", 0 failed")
	run("gc").wants(t, 0, "environment "+name+": deleted: process ")
	gone("gc")

	// killed in the middle of its `up`
	first = owner()
	c := exec.Command(binary, "up", "--name", name, "--runtime", "process", "--owner-pid", fmt.Sprint(first.Process.Pid))
	c.Env = append(os.Environ(), "DEVENV_HOME="+state)
	noError(t, c.Start())
	eventually(t, "the reaper", 20*time.Second, func() error { _, err := os.Stat(filepath.Join(folder, "processes", "reaper.json")); return err })
	noError(t, c.Process.Signal(syscall.SIGKILL))
	_ = c.Wait()
	end(first)
	gone("an owner whose up was killed")

	// by the clock; and an `up` that is at work ends, too
	up("--ttl", "1s").wants(t, 4, "its time was over at ")
	gone("a short time to live")
	up("--ttl", "1h").wants(t, 0, "ends by itself", "at ")
	up("--owner-pid", fmt.Sprint(os.Getpid())).wants(t, 0, "or with process ")
	up("--ttl", "0s", "--owner-pid", "0").wants(t, 0, "ready and proven")
	run("list").wants(t, 0, "by down")
	up("--ttl", "9s").wants(t, 0)
	gone("9 seconds")
}

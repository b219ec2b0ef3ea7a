package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// remember notes what was changed on the machine, for undo.
func (l *lab) remember(what string, values ...string) error {
	f, err := os.OpenFile(filepath.Join(l.cache, "changed-"+what), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintln(f, strings.Join(values, "\n"))
	return err
}

// undo takes back what engine changed: the runtime, the lab's images, the
// daemon, the kernel's limit and the packages. The cache stays; `make clean` removes it.
func (l *lab) undo(ctx context.Context) error {
	if out, err := command(ctx, "docker", "images", "--filter=reference=devenv-lab/*", "--format={{.Repository}}:{{.Tag}}"); err == nil {
		for _, image := range strings.Fields(string(out)) {
			if _, err := command(ctx, "docker", "rmi", "-f", image); err != nil {
				return err
			}
			say("removed image %s", image)
		}
	}
	if before, err := os.ReadFile(daemonBackup); err == nil {
		if err := removeRuntime(ctx, before); err != nil {
			return err
		}
		say("took the OCI runtime away again and restored %s", daemonJSON)
	}
	if err := errors.Join(l.stopDaemon(), l.lowerInotify()); err != nil {
		return err
	}
	if text, err := os.ReadFile(filepath.Join(l.cache, "changed-packages")); err == nil {
		say("the lab installed these packages, remove them with: apt-get remove %s", strings.Join(strings.Fields(string(text)), " "))
	}
	return nil
}

// stopDaemon ends the dockerd that the lab started, if it still runs.
func (l *lab) stopDaemon() error {
	note := filepath.Join(l.cache, "changed-dockerd")
	text, err := os.ReadFile(note)
	if err != nil {
		return nil // none was started
	}
	for _, field := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			continue
		}
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if strings.TrimSpace(string(name)) != "dockerd" {
			continue // ended long ago, the number may be somebody else's
		}
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			return err
		}
		for limit := time.Now().Add(30 * time.Second); syscall.Kill(pid, 0) == nil; {
			if time.Now().After(limit) {
				return fmt.Errorf("dockerd, process %d, did not end within 30s", pid)
			}
			<-time.After(100 * time.Millisecond) // look again
		}
		say("stopped dockerd, process %d", pid)
	}
	return os.Remove(note)
}

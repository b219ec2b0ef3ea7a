package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// addRuntime makes ocirun the engine's default runtime. dockerd reads its
// runtimes anew on SIGHUP.
func (l *lab) addRuntime(ctx context.Context) error {
	binary, err := l.ownBinary(ctx, "ocirun")
	if err != nil {
		return err
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	if err := os.WriteFile(runtimePath, content, 0o755); err != nil {
		return err
	}
	before, err := os.ReadFile(daemonJSON)
	if errors.Is(err, os.ErrNotExist) {
		before = []byte(noSettings)
	} else if err != nil {
		return err
	}
	settings := map[string]any{}
	if err := json.Unmarshal(before, &settings); err != nil {
		return fmt.Errorf("%s: %w", daemonJSON, err)
	}
	runtimes, _ := settings["runtimes"].(map[string]any)
	if runtimes == nil {
		runtimes = map[string]any{}
	}
	runtimes[runtimeName] = map[string]any{"path": runtimePath}
	settings["runtimes"], settings["default-runtime"] = runtimes, runtimeName
	after, err := json.MarshalIndent(settings, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(daemonJSON), 0o755); err != nil {
		return err
	}
	if _, err := os.Stat(daemonBackup); errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(daemonBackup, before, 0o644); err != nil {
			return err
		}
	}
	if err := os.WriteFile(daemonJSON, after, 0o644); err != nil {
		return err
	}
	say("this machine lacks CAP_SYS_RESOURCE: put %s before runc (in %s, the old one is %s); `make lab-undo` takes it back", runtimePath, daemonJSON, daemonBackup)
	return reload(ctx, runtimeName)
}

// reload has dockerd read its settings and waits until the default runtime is
// the one named.
func reload(ctx context.Context, runtime string) error {
	text, err := os.ReadFile("/var/run/docker.pid")
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		out, err := command(ctx, "docker", "info", "--format", "{{.DefaultRuntime}}")
		if err == nil && strings.TrimSpace(string(out)) == runtime {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("dockerd did not take %s as its default runtime", runtime)
		case <-time.After(100 * time.Millisecond): // ask again
		}
	}
}

// removeRuntime makes runc the default again and puts the old settings back.
// dockerd keeps a setting that its file no longer names, so it is told runc
// first.
func removeRuntime(ctx context.Context, before []byte) error {
	if _, err := command(ctx, "docker", "info"); err == nil {
		if err := os.WriteFile(daemonJSON, []byte(`{"default-runtime": "runc"}`), 0o644); err != nil {
			return err
		}
		if err := reload(ctx, "runc"); err != nil {
			return err
		}
	}
	restore := func() error { return os.WriteFile(daemonJSON, before, 0o644) }
	if string(before) == noSettings {
		restore = func() error { return os.Remove(daemonJSON) }
	}
	return errors.Join(restore(), os.Remove(daemonBackup), os.Remove(runtimePath))
}

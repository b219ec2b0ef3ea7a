package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const (
	daemonJSON    = "/etc/docker/daemon.json"
	daemonBackup  = daemonJSON + ".before-devenv-lab"
	noSettings    = "{}\n" // in the backup, where there was no file
	runtimeName   = "devenv-lab"
	runtimePath   = "/usr/local/sbin/devenv-lab-ocirun"
	probeImage    = "devenv-lab/probe:latest"
	officialProbe = "registry.k8s.io/pause:3.10"
)

// registries are asked whether this machine reaches the official sources.
var registries = []string{
	"https://registry-1.docker.io/v2/", "https://ghcr.io/v2/", "https://quay.io/v2/",
	"https://charts.dexidp.io/index.yaml", "https://charts.jetstack.io/index.yaml",
}

// registriesAnswer says whether every source of devenv's own pins can be
// reached; any answer counts, 401 too.
func registriesAnswer(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	answers := make(chan bool, len(registries))
	for _, address := range registries {
		go func() {
			request, err := http.NewRequestWithContext(ctx, http.MethodHead, address, nil)
			if err != nil {
				answers <- false
				return
			}
			response, err := http.DefaultClient.Do(request)
			if err == nil {
				response.Body.Close()
			}
			answers <- err == nil && response.StatusCode < 500
		}()
	}
	for range registries {
		if !<-answers {
			return false
		}
	}
	return true
}

func privilegedContainersStart(ctx context.Context, image string) bool {
	return tryPrivileged(ctx, image) == nil
}

func tryPrivileged(ctx context.Context, image string) error {
	_, err := command(ctx, "docker", "run", "--rm", "--privileged", "--network=none", image, "/pause", "-v")
	return err
}

// engine makes sure that an engine answers and starts privileged containers.
func (l *lab) engine(ctx context.Context) error {
	if err := l.start(ctx); err != nil {
		return err
	}
	if err := l.loadProbe(ctx); err != nil {
		return err
	}
	failed := tryPrivileged(ctx, probeImage)
	if failed == nil {
		return nil
	}
	if !strings.Contains(failed.Error(), "operation not permitted") {
		return fmt.Errorf("the engine cannot start a privileged container: %w", failed)
	}
	if os.Geteuid() != 0 {
		return &hintedError{fmt.Errorf("the engine cannot start a privileged container: %w", failed), "run `make lab` as root once: it puts an OCI runtime before runc"}
	}
	if err := l.addRuntime(ctx); err != nil {
		return err
	}
	return tryPrivileged(ctx, probeImage)
}

// start starts the engine, and installs it where that is allowed.
func (l *lab) start(ctx context.Context) error {
	if _, err := command(ctx, "docker", "info"); err == nil {
		return nil
	}
	if os.Geteuid() != 0 {
		return &hintedError{errors.New("no container engine answers"), "start it, for example: sudo systemctl start docker"}
	}
	if _, err := exec.LookPath("dockerd"); err != nil {
		if err := l.install(ctx, "docker.io", "iptables"); err != nil {
			return err
		}
	}
	log, err := os.OpenFile(filepath.Join(l.cache, "dockerd.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	daemon := exec.Command("dockerd")
	daemon.Stdout, daemon.Stderr = log, log
	daemon.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it outlives the lab
	if err := daemon.Start(); err != nil {
		return fmt.Errorf("could not start dockerd: %w", err)
	}
	say("started dockerd, process %d, log %s", daemon.Process.Pid, log.Name())
	ended := make(chan error, 1)
	go func() { ended <- daemon.Wait() }()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if _, err := command(ctx, "docker", "info"); err == nil {
			return l.remember("dockerd", strconv.Itoa(daemon.Process.Pid))
		}
		select {
		case err := <-ended:
			return fmt.Errorf("dockerd ended: %v, see %s", err, log.Name())
		case <-ctx.Done():
			return fmt.Errorf("dockerd did not answer within a minute, see %s", log.Name())
		case <-time.After(100 * time.Millisecond): // ask again
		}
	}
}

var aptUpdate = sync.OnceValue(func() error {
	_, err := command(context.Background(), "apt-get", "update", "-q")
	return err
})

// install installs Debian packages, as root and where it is allowed.
func (l *lab) install(ctx context.Context, names ...string) error {
	var absent []string
	for _, n := range names {
		if out, _ := command(ctx, "dpkg-query", "-W", "-f", "${Status}", n); !strings.HasSuffix(string(out), " installed") {
			absent = append(absent, n)
		}
	}
	if len(absent) == 0 {
		return nil
	}
	list := strings.Join(absent, " ")
	if os.Geteuid() != 0 || (os.Getenv("CI") != "true" && os.Getenv("LAB_INSTALL") != "yes") {
		return &hintedError{fmt.Errorf("missing on this machine: %s", list), "as root: apt-get install --no-install-recommends " + list + " (or make lab LAB_INSTALL=yes)"}
	}
	say("installing Debian packages: %s", list)
	if err := aptUpdate(); err != nil {
		return err
	}
	c := exec.CommandContext(ctx, "apt-get", append([]string{"install", "-q", "-y", "--no-install-recommends"}, absent...)...)
	c.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if _, err := finish(c); err != nil {
		return err
	}
	return l.remember("packages", absent...)
}

// loadProbe puts the smallest image into the engine.
func (l *lab) loadProbe(ctx context.Context) error {
	if _, err := command(ctx, "docker", "image", "inspect", probeImage); err == nil {
		return nil
	}
	pause, err := l.ownBinary(ctx, "pause")
	if err != nil {
		return err
	}
	files := newLayer()
	files.host("/pause", pause)
	image, err := newImage(v1.Config{}, files)
	if err != nil {
		return err
	}
	archive := filepath.Join(l.cache, "probe.tar")
	defer os.Remove(archive)
	if err := writeImages(archive, map[string]v1.Image{probeImage: image}); err != nil {
		return err
	}
	_, err = command(ctx, "docker", "load", "-i", archive)
	return err
}

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
// daemon and the packages. The cache stays; `make clean` removes it.
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
	if err := l.stopDaemon(); err != nil {
		return err
	}
	if text, err := os.ReadFile(filepath.Join(l.cache, "changed-packages")); err == nil {
		say("the lab installed these packages, remove them with: apt-get remove %s", strings.Join(strings.Fields(string(text)), " "))
	}
	return nil
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

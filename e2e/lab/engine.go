package main

import (
	"context"
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
	if err := l.raiseInotify(); err != nil {
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

package diagnosis

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/cluster"
	"github.com/devenv-oidc/devenv/provision/process"
	"github.com/devenv-oidc/devenv/provision/state"
)

// Machine looks at what an environment needs before there is one.
func Machine(ctx context.Context, home state.Home, pins profiles.Pins) *Report {
	m := &machine{home: home, pins: pins}
	report := &Report{}
	besides(ctx, report, []hop{
		{"engine", m.findEngine},
		{"privileged", m.privileged},
		{"cgroup", m.cgroup},
		{"cpus", m.cpus},
		{"memory", m.memory},
		{"disk", m.disk},
		{"inotify", m.inotify},
		{"resolver", m.resolver},
		{"ports", m.ports},
		{"proxy", m.proxy},
	})
	return report
}

// Obstacle is why an environment that is not there yet cannot be made on this
// machine, and what helps; empty where nothing is known to stop it. It looks
// only at what takes no time, and leaves out what a cache or a mirror may make
// good: room for images, a proxy.
func Obstacle(ctx context.Context, home state.Home) (detail, remedy string) {
	m := &machine{home: home}
	room := func(context.Context) finding { return roomIn(string(home), noStateDisk) }
	for _, look := range []func(context.Context) finding{room, m.localhost, m.ports} {
		if found := look(ctx); found.state == Failed {
			return found.detail, found.remedy
		}
	}
	return "", ""
}

// machine is this one; info is zero where no engine answers.
type machine struct {
	home   state.Home
	pins   profiles.Pins
	engine *cluster.Engine
	info   cluster.Info
}

func (m *machine) findEngine(ctx context.Context) finding {
	ctx, cancel := context.WithTimeout(ctx, hopLimit)
	defer cancel()
	engine, err := cluster.FindEngine(ctx, "")
	const install = "for pods: install or start a container engine, see https://docs.docker.com/engine/install/"
	if err != nil && process.Supported() == nil {
		return warning(fmt.Sprintf("%v; plain processes need none", err), install)
	}
	if err != nil {
		return failed(err.Error(), install)
	}
	m.engine = engine
	if m.info, err = engine.Info(ctx); err != nil {
		return warning(err.Error(), "")
	}
	return ok(fmt.Sprintf("%s %s answers, storage driver %s", engine.Command, m.info.ServerVersion, m.info.Driver))
}

// privileged tries what every node is, where there is an image to try it with.
func (m *machine) privileged(ctx context.Context) finding {
	image := m.pins.NodeImages[m.pins.DefaultKubernetes].Image
	switch {
	case m.engine == nil:
		return ok("not tried: there is no engine")
	case !m.engine.HasImage(ctx, image):
		return ok("not tried: the engine does not have the image " + image + " yet")
	}
	if err := m.engine.TryPrivileged(ctx, image); err != nil {
		return failed(err.Error(), "run the engine where privileged containers are allowed, or without pods: devenv up --runtime process")
	}
	return ok("a privileged container starts")
}

func (m *machine) cgroup(context.Context) finding {
	if m.engine == nil {
		return ok("not needed without an engine")
	}
	if m.info.CgroupVersion == "1" {
		return warning("cgroup version 1, which new versions of Kubernetes give up", "boot with systemd.unified_cgroup_hierarchy=1")
	}
	return ok("cgroup version " + m.info.CgroupVersion)
}

func (m *machine) cpus(context.Context) finding {
	count := runtime.NumCPU()
	if m.info.NCPU > 0 {
		count = m.info.NCPU
	}
	if count < 2 {
		return warning(fmt.Sprintf("%d CPU; kind wants two", count), "give the machine, or the engine's VM, more")
	}
	return ok(fmt.Sprintf("%d CPUs", count))
}

// enoughMemory for a node with everything on it.
const enoughMemory = 3 << 30

func (m *machine) memory(context.Context) finding {
	switch {
	case m.info.MemTotal == 0:
		return ok("not known without an engine; plain processes need some 600 MB")
	case m.info.MemTotal < enoughMemory:
		return warning(fmt.Sprintf("%.1f GB for the engine; a node needs some 3", gigabytes(m.info.MemTotal)), "give the engine's VM more")
	}
	return ok(fmt.Sprintf("%.1f GB", gigabytes(m.info.MemTotal)))
}

func gigabytes(bytes int64) float64 { return float64(bytes) / (1 << 30) }

// Free space below which `up` may fail, and surely will: where images and
// binaries go, and for state, where etcd's log alone takes 64 MB.
const scarceDisk, noDisk, noStateDisk = 8 << 30, 1 << 30, 128 << 20

// disk looks where state and caches are, and where the engine stores images.
func (m *machine) disk(context.Context) finding {
	cache, err := state.CacheFolder("")
	if err != nil {
		return warning(err.Error(), "")
	}
	worst, seen := ok(""), []string{}
	for _, folder := range []string{string(m.home), cache, m.info.DockerRootDir} {
		if folder == "" {
			continue
		}
		least := int64(noDisk)
		if folder == string(m.home) {
			least = noStateDisk
		}
		switch found := roomIn(folder, least); {
		case found.state == Failed, found.state == Warning && worst.state == OK:
			worst = found
		case found.detail != "":
			seen = append(seen, found.detail)
		}
	}
	if worst.state == OK {
		worst.detail = strings.Join(seen, ", ")
	}
	return worst
}

// roomIn looks at the free space where a folder is or will be; the detail is
// empty where that is not ours to see.
func roomIn(folder string, least int64) finding {
	free, err := freeSpace(existing(folder))
	if err != nil {
		return ok("")
	}
	detail := fmt.Sprintf("%.1f GB free for %s", gigabytes(free), folder)
	switch {
	case free < least:
		return failed(detail, "free some space: df -h "+folder)
	case free < scarceDisk:
		return warning(detail, "free some space: df -h "+folder)
	}
	return ok(detail)
}

// existing is a folder, or the nearest above it that exists.
func existing(folder string) string {
	for {
		if _, err := os.Stat(folder); err == nil || folder == filepath.Dir(folder) {
			return folder
		}
		folder = filepath.Dir(folder)
	}
}

func (m *machine) inotify(context.Context) finding {
	limit, low := cluster.LowInotify()
	switch {
	case limit == 0:
		return ok("not known here")
	case low:
		return warning(fmt.Sprintf("%d inotify instances; each kind node needs some thirty of root's", limit), "sudo sysctl fs.inotify.max_user_instances=512")
	}
	return ok(fmt.Sprintf("%d inotify instances", limit))
}

// resolver is how this host resolves names below localhost (RFC 6761, section
// 6.3 leaves it to resolvers).
func (m *machine) resolver(ctx context.Context) finding {
	if found := m.localhost(ctx); found.state != OK {
		return found
	}
	ctx, cancel := context.WithTimeout(ctx, hopLimit)
	defer cancel()
	if _, err := net.DefaultResolver.LookupHost(ctx, "dex.dev.localhost"); err != nil {
		return ok("this host's resolver knows no names below localhost: devenv and browsers need none; for curl use --resolve with issuer.address of devenv status --output json")
	}
	return ok("this host resolves names below localhost")
}

func (m *machine) localhost(ctx context.Context) finding {
	ctx, cancel := context.WithTimeout(ctx, hopLimit)
	defer cancel()
	if addresses, err := net.DefaultResolver.LookupHost(ctx, "localhost"); err != nil || len(addresses) == 0 {
		return failed("this host does not resolve localhost", "add to /etc/hosts: 127.0.0.1 localhost")
	}
	return ok("this host resolves localhost")
}

func (m *machine) ports(context.Context) finding {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return failed(fmt.Sprintf("no port of the loopback can be listened on: %v", err), "see what holds them: ss -ltn")
	}
	l.Close()
	return ok("ports of the loopback are free")
}

// proxy looks at what the variables would do to the issuer and to pulls.
func (m *machine) proxy(ctx context.Context) finding {
	settings := httpproxy.FromEnvironment()
	server := settings.HTTPSProxy
	if server == "" {
		server = settings.HTTPProxy
	}
	if server == "" {
		return ok("no proxy is set")
	}
	parsed, err := url.Parse(server)
	if err != nil || parsed.Host == "" { // Go takes an address alone for one of http
		parsed, err = url.Parse("http://" + server)
	}
	if err != nil || parsed.Host == "" {
		return failed(fmt.Sprintf("the proxy %q is no URL", redacted(server)), "correct HTTPS_PROXY, or unset it")
	}
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", hostPort(parsed))
	if err != nil {
		return warning(fmt.Sprintf("the proxy %s does not answer: nothing can be pulled", parsed.Host), "correct HTTPS_PROXY, or unset it")
	}
	conn.Close()
	issuer, _ := http.NewRequest(http.MethodGet, "https://dex.dev.localhost", nil)
	if via, _ := settings.ProxyFunc()(issuer.URL); via != nil {
		return warning(fmt.Sprintf("the proxy %s is used for names below localhost too; devenv itself does not", parsed.Host), "add .localhost to NO_PROXY")
	}
	return ok("the proxy " + parsed.Host + " answers")
}

func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	if u.Scheme == "https" {
		return net.JoinHostPort(u.Hostname(), "443")
	}
	return net.JoinHostPort(u.Hostname(), "80")
}

// redacted hides a password in an address.
func redacted(address string) string {
	if _, after, found := strings.Cut(address, "@"); found {
		return "…@" + after
	}
	return address
}

package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// The versions of what the lab builds. The modules' go.mod files pin them; a
// test holds the two together.
const (
	kubernetesVersion  = "v1.37.0"
	containerdVersion  = "v2.1.4"
	dexVersion         = "v2.45.1"
	dexBranch          = "master" // as its image's tag names it
	caddyTag           = "2.11.9"
	certManagerVersion = "v1.11.5"
	oauth2ProxyTag     = "v7.15.6"
)

// program is one or more binaries of one module under modules/.
type program struct {
	name     string // of the artifact; the module's when empty
	module   string
	packages []string
	tags     string
	stamps   []string // -X of the linker
}

var kubernetesStamps = []string{
	"k8s.io/component-base/version.gitVersion=" + kubernetesVersion,
	"k8s.io/component-base/version.gitMajor=1", "k8s.io/component-base/version.gitMinor=37",
	"k8s.io/client-go/pkg/version.gitVersion=" + kubernetesVersion, // kubeadm reads this one
}

var programs = []program{
	{name: "control-plane", module: "kubernetes", packages: []string{"./control-plane"}, stamps: kubernetesStamps},
	{name: "kubectl", module: "kubernetes", packages: []string{"k8s.io/kubernetes/cmd/kubectl"}, stamps: kubernetesStamps},
	{name: "node", module: "kubernetes", packages: []string{"./node"}, stamps: kubernetesStamps},
	{module: "etcd", packages: []string{"go.etcd.io/etcd/server/v3"}},
	{module: "containerd", tags: "no_btrfs no_zfs no_devmapper no_aufs", packages: []string{
		"github.com/containerd/containerd/v2/cmd/containerd",
		"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
		"github.com/containerd/containerd/v2/cmd/ctr",
	}, stamps: []string{"github.com/containerd/containerd/v2/version.Version=" + containerdVersion}},
	{module: "cni", packages: []string{
		"github.com/containernetworking/plugins/plugins/ipam/host-local",
		"github.com/containernetworking/plugins/plugins/main/loopback",
		"github.com/containernetworking/plugins/plugins/main/ptp",
		"github.com/containernetworking/plugins/plugins/meta/portmap",
	}},
	{module: "coredns", packages: []string{"."}},
	{module: "dex", packages: []string{"github.com/dexidp/dex/cmd/dex"}, stamps: []string{"main.version=" + dexVersion}},
	{module: "certmanager", packages: []string{"."}},
	{module: "dexpreview", packages: []string{"github.com/dexidp/dex/cmd/dex"}, stamps: []string{"main.version=" + dexBranch}},
	{module: "caddy", packages: []string{"."}},
	{module: "oauth2proxy", packages: []string{"github.com/oauth2-proxy/oauth2-proxy/v7"}, stamps: []string{"github.com/oauth2-proxy/oauth2-proxy/v7/pkg/version.VERSION=" + oauth2ProxyTag}},
}

// binaries compiles one of the programs and returns the folder its binaries are
// in. One from a package path that ends in a major version is named after the
// module.
func (l *lab) binaries(ctx context.Context, name string) (string, error) {
	i := slices.IndexFunc(programs, func(p program) bool { return name == cmp.Or(p.name, p.module) })
	p := programs[i]
	key, err := l.key([]string{"modules/" + p.module, "build.go"})
	if err != nil {
		return "", err
	}
	return l.artifact("bin-"+name, key, "", func(folder string) error {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		for _, pkg := range p.packages {
			binary := filepath.Base(pkg)
			if binary == "." || strings.HasPrefix(binary, "v") && len(binary) == 2 {
				binary = p.module
			}
			if err := l.compile(ctx, p, pkg, filepath.Join(folder, binary)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (l *lab) compile(ctx context.Context, p program, pkg, to string) error {
	flags := "-s -w"
	for _, s := range p.stamps {
		flags += " -X " + s
	}
	inModule := func(args ...string) *exec.Cmd {
		c := exec.CommandContext(ctx, "go", args...)
		c.Dir = filepath.Join(l.root, "modules", p.module)
		c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
		return c
	}
	packages, err := finish(inModule("list", "-deps", "-tags="+p.tags, pkg))
	if err != nil {
		return err
	}
	// -v names each package that is compiled, and not those that are cached
	return countLines(inModule("build", "-v", "-buildvcs=false", "-trimpath", "-tags="+p.tags, "-ldflags", flags, "-o", to, pkg),
		fmt.Sprintf("packages compiled, of at most %d", strings.Count(string(packages), "\n")))
}

// ownBinary compiles one of the lab's own small programs.
func (l *lab) ownBinary(ctx context.Context, name string) (string, error) {
	key, err := l.key([]string{name})
	if err != nil {
		return "", err
	}
	return l.artifact("bin-"+name, key, "", func(path string) error {
		c := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-o", path, "./"+name)
		c.Dir = l.root
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		_, err := finish(c)
		return err
	})
}

// moduleDir is where the module cache has a dependency of the module in a
// folder: one under modules/, or the project itself.
func moduleDir(ctx context.Context, folder, path string) (string, error) {
	inFolder := func(args ...string) ([]byte, error) {
		c := exec.CommandContext(ctx, "go", args...)
		c.Dir = folder
		return finish(c)
	}
	if _, err := inFolder("mod", "download", path); err != nil {
		return "", err
	}
	out, err := inFolder("list", "-m", "-f", "{{.Dir}}", path)
	return strings.TrimSpace(string(out)), err
}

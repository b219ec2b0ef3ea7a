package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The versions of what the lab builds. The modules' go.mod files pin them; a
// test holds the two together.
const (
	kubernetesVersion  = "v1.37.0"
	containerdVersion  = "v2.1.4"
	dexVersion         = "v2.45.1"
	certManagerVersion = "v1.11.5"
)

// program is one or more binaries of one module under modules/.
type program struct {
	module   string
	packages []string
	tags     string
	stamps   []string // -X of the linker
}

var programs = []program{
	{module: "kubernetes", packages: []string{"./control-plane", "./node"}, stamps: []string{
		"k8s.io/component-base/version.gitVersion=" + kubernetesVersion,
		"k8s.io/component-base/version.gitMajor=1", "k8s.io/component-base/version.gitMinor=37",
		"k8s.io/client-go/pkg/version.gitVersion=" + kubernetesVersion, // kubeadm reads this one
	}},
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
}

// binaries compiles one module's programs and returns the folder they are in.
// Programs from a package path that ends in a major version are named after
// the module.
func (l *lab) binaries(ctx context.Context, module string) (string, error) {
	var p program
	for _, p = range programs {
		if p.module == module {
			break
		}
	}
	key, err := l.key([]string{"modules/" + module, "build.go"})
	if err != nil {
		return "", err
	}
	return l.artifact("bin-"+module, key, "", func(folder string) error {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		flags := "-s -w"
		for _, s := range p.stamps {
			flags += " -X " + s
		}
		for _, pkg := range p.packages {
			name := filepath.Base(pkg)
			if name == "." || strings.HasPrefix(name, "v") && len(name) == 2 {
				name = module
			}
			c := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-tags="+p.tags, "-ldflags", flags, "-o", filepath.Join(folder, name), pkg)
			c.Dir = filepath.Join(l.root, "modules", module)
			c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
			if _, err := finish(c); err != nil {
				return err
			}
		}
		return nil
	})
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

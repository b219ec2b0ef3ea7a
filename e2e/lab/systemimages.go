package main

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// sandboxImage is the pause image in kind's configuration of containerd.
const sandboxImage = "registry.k8s.io/pause:3.10"

// systemImages are the images that kubeadm starts, under the names it uses.
func (l *lab) systemImages(ctx context.Context, root *rootfs, to string) error {
	controlPlane, err := l.binaries(ctx, "control-plane")
	if err != nil {
		return err
	}
	node, err := l.binaries(ctx, "node")
	if err != nil {
		return err
	}
	etcd, err := l.binaries(ctx, "etcd")
	if err != nil {
		return err
	}
	coredns, err := l.binaries(ctx, "coredns")
	if err != nil {
		return err
	}
	pause, err := l.ownBinary(ctx, "pause")
	if err != nil {
		return err
	}
	refs, err := kubeadmImages(ctx, node)
	if err != nil {
		return err
	}
	images := map[string]v1.Image{}
	add := func(ref string, config v1.Config, layers ...*layer) {
		if err == nil {
			images[ref], err = newImage(config, layers...)
		}
	}
	kubernetes := func() *layer {
		files := newLayer()
		files.host("/usr/local/bin/control-plane", filepath.Join(controlPlane, "control-plane"))
		for _, p := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"} {
			files.link("/usr/local/bin/"+p, "control-plane")
		}
		return files
	}
	for _, ref := range refs {
		switch {
		case strings.Contains(ref, "kube-proxy"):
			tools, toolsErr := iptables(root)
			if toolsErr != nil {
				return toolsErr
			}
			add(ref, v1.Config{}, kubernetes(), tools)
		case strings.Contains(ref, "/kube-"):
			add(ref, v1.Config{}, kubernetes())
		case strings.Contains(ref, "etcd"):
			files := newLayer()
			files.host("/usr/local/bin/etcd", filepath.Join(etcd, "etcd"))
			add(ref, v1.Config{}, files)
		case strings.Contains(ref, "coredns"):
			files := newLayer()
			files.host("/coredns", filepath.Join(coredns, "coredns"))
			add(ref, v1.Config{Entrypoint: []string{"/coredns"}}, files)
		case strings.Contains(ref, "pause"):
			for _, r := range []string{ref, sandboxImage} {
				files := newLayer()
				files.host("/pause", pause)
				add(r, v1.Config{Entrypoint: []string{"/pause"}}, files)
			}
		}
	}
	if err != nil {
		return err
	}
	return writeImages(to, images)
}

// kubeadmImages asks kubeadm itself which images it will start.
func kubeadmImages(ctx context.Context, node string) ([]string, error) {
	folder, err := os.MkdirTemp("", "lab-kubeadm-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	kubeadm := filepath.Join(folder, "kubeadm")
	if err := os.Symlink(filepath.Join(node, "node"), kubeadm); err != nil {
		return nil, err
	}
	out, err := command(ctx, kubeadm, "config", "images", "list", "--kubernetes-version", kubernetesVersion)
	return strings.Fields(string(out)), err
}

// iptables is what kube-proxy calls. Only its own files: on a full Debian
// kube-proxy would take several seconds longer to start for the first time.
func iptables(root *rootfs) (*layer, error) {
	files := newLayer()
	seen := map[string]bool{}
	if err := root.program(files, "/usr/sbin/xtables-nft-multi", seen); err != nil {
		return nil, err
	}
	for _, tool := range []string{"iptables", "ip6tables"} {
		for _, suffix := range []string{"", "-save", "-restore"} {
			files.link("/usr/sbin/"+tool+suffix, "xtables-nft-multi")
		}
	}
	const extensions = "/usr/lib/x86_64-linux-gnu/xtables/"
	for _, file := range slices.Sorted(maps.Keys(root.files)) {
		if strings.HasPrefix(file, extensions) {
			if err := root.program(files, file, seen); err != nil {
				return nil, err
			}
		}
	}
	for _, link := range slices.Sorted(maps.Keys(root.links)) {
		if strings.HasPrefix(link, extensions) { // such as MASQUERADE, which is NAT
			files.link(link, root.links[link])
		}
	}
	files.dir("/lib/modules", 0o755)
	files.dir("/run/xtables", 0o755)
	return files, nil
}

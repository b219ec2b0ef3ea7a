package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// packages of the node's Debian: those of kind's base image, runc, and busybox
// for Dex's image.
var packages = strings.Fields(`systemd runc conntrack iptables nftables iproute2 ethtool util-linux mount kmod
	libseccomp2 pigz e2fsprogs bash ca-certificates curl jq procps hostname socat busybox-static`)

// rootfs makes the Debian below the node.
func (l *lab) rootfs(ctx context.Context) (string, error) {
	key, err := l.key(nil, append(packages, "bookworm")...)
	if err != nil {
		return "", err
	}
	return l.artifact("rootfs", key, ".tar", func(to string) error {
		if err := l.install(ctx, "mmdebstrap"); err != nil {
			return err
		}
		_, err := command(ctx, "mmdebstrap", "--variant=minbase", "--format=tar", "--include="+strings.Join(packages, ","),
			"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/doc/*",
			"--dpkgopt=path-exclude=/usr/share/locale/*", "bookworm", to)
		return err
	})
}

// nodeImage makes the node image and loads it into the engine; it returns the
// archive and the image's name, which holds its key.
func (l *lab) nodeImage(ctx context.Context) (archive, ref string, err error) {
	kind, err := moduleDir(ctx, l.root, "sigs.k8s.io/kind")
	if err != nil {
		return "", "", err
	}
	key, err := l.nodeKey(kind)
	if err != nil {
		return "", "", err
	}
	ref = "devenv-lab/node:" + kubernetesVersion + "-" + key
	archive, err = l.artifact("node", key, ".tar", func(to string) error {
		return l.buildNode(ctx, filepath.Join(kind, "images", "base", "files"), ref, to)
	})
	if err != nil {
		return "", "", err
	}
	return archive, ref, loadImage(ctx, ref, archive)
}

// nodeKey needs to know which kind the image's files come from.
func (l *lab) nodeKey(kind string) (string, error) {
	return l.key([]string{"modules/kubernetes", "modules/etcd", "modules/coredns", "modules/containerd", "modules/cni",
		"node", "pause", "build.go", "node.go", "images.go", "systemimages.go", "layer.go"}, append(packages, filepath.Base(kind))...)
}

// loadImage puts an archive into the engine, where it is not there yet.
func loadImage(ctx context.Context, ref, archive string) error {
	if _, err := command(ctx, "docker", "image", "inspect", ref); err == nil {
		return nil
	}
	say("loading %s into the engine", ref)
	_, err := command(ctx, "docker", "load", "-i", archive)
	return err
}

func (l *lab) buildNode(ctx context.Context, kindFiles, ref, to string) error {
	debian, err := l.rootfs(ctx)
	if err != nil {
		return err
	}
	root, err := readRootfs(debian)
	if err != nil {
		return err
	}
	temporary, err := os.MkdirTemp(l.cache, "node-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	images := filepath.Join(temporary, "images.tar")
	if err := l.systemImages(ctx, root, images); err != nil {
		return err
	}
	files, err := l.nodeFiles(ctx, kindFiles)
	if err != nil {
		return err
	}

	const base = "devenv-lab/debian:build"
	if _, err := command(ctx, "docker", "import", debian, base); err != nil {
		return err
	}
	defer command(context.WithoutCancel(ctx), "docker", "rmi", "-f", base)
	out, err := command(ctx, "docker", "run", "-d", "--privileged", "--network=none", base, "/bin/sleep", "infinity")
	if err != nil {
		return err
	}
	container := strings.TrimSpace(string(out))
	defer command(context.WithoutCancel(ctx), "docker", "rm", "-f", "-v", container)

	copyIn := exec.CommandContext(ctx, "docker", "cp", "-", container+":/")
	copyIn.Stdin = bytes.NewReader(files)
	if _, err := finish(copyIn); err != nil {
		return err
	}
	if _, err := command(ctx, "docker", "cp", images, container+":/images.tar"); err != nil {
		return err
	}
	script, err := os.Open(filepath.Join(l.root, "node", "install.sh"))
	if err != nil {
		return err
	}
	defer script.Close()
	install := exec.CommandContext(ctx, "docker", "exec", "-i", container, "bash", "-s")
	install.Stdin = script
	if _, err := finish(install); err != nil {
		return err
	}
	if _, err := command(ctx, "docker", "commit", "--change", "ENV container=docker",
		"--change", `ENTRYPOINT ["/usr/local/bin/lab-entrypoint", "/sbin/init"]`, container, ref); err != nil {
		return err
	}
	_, err = command(ctx, "docker", "save", "-o", to, ref)
	return err
}

// nodeFiles is everything on top of the Debian, as a tar archive.
func (l *lab) nodeFiles(ctx context.Context, kindFiles string) ([]byte, error) {
	files := newLayer()
	files.tree("/", kindFiles)
	add := func(program, folder string, names ...string) error {
		bin, err := l.binaries(ctx, program)
		for _, n := range names {
			files.host(folder+"/"+n, filepath.Join(bin, n))
		}
		return err
	}
	if err := add("node", "/usr/bin", "node"); err != nil {
		return nil, err
	}
	for _, name := range []string{"kubelet", "kubeadm", "kubectl"} {
		files.link("/usr/bin/"+name, "node")
	}
	if err := add("containerd", "/usr/local/bin", "containerd", "containerd-shim-runc-v2", "ctr"); err != nil {
		return nil, err
	}
	if err := add("cni", "/opt/cni/bin", "host-local", "loopback", "portmap", "ptp"); err != nil {
		return nil, err
	}
	own := func(to, name string, mode int64) {
		text, err := os.ReadFile(filepath.Join(l.root, "node", name))
		if err != nil {
			files.fail(err)
		}
		files.file(to, mode, text)
	}
	own("/usr/local/bin/lab-entrypoint", "lab-entrypoint", 0o755)
	own("/etc/systemd/system/lab-keep-slice.service", "lab-keep-slice.service", 0o644)
	own("/etc/cni/net.d/10-ptp.conflist", "10-ptp.conflist", 0o644)
	own("/etc/lab-ptp.conflist", "10-ptp.conflist", 0o644)
	own("/usr/local/bin/lab-pod-network", "lab-pod-network", 0o755)
	own("/etc/systemd/system/lab-pod-network.service", "lab-pod-network.service", 0o644)
	own("/kind/manifests/default-cni.yaml", "default-cni.yaml", 0o644)
	own("/kind/manifests/default-storage.yaml", "default-storage.yaml", 0o644)
	files.file("/kind/version", 0o644, []byte(kubernetesVersion))
	// kubelet 1.37 refuses cgroup v1 unless it is told not to
	files.file("/etc/default/kubelet", 0o644, []byte("KUBELET_EXTRA_ARGS=--runtime-cgroups=/system.slice/containerd.service --fail-cgroupv1=false\n"))
	return files.bytes()
}

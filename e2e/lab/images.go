package main

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// sandboxImage is the pause image in kind's configuration of containerd.
const sandboxImage = "registry.k8s.io/pause:3.10"

const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// newImage stacks layers and sets how the image starts.
func newImage(config v1.Config, layers ...*layer) (v1.Image, error) {
	image := v1.Image(empty.Image)
	for _, l := range layers {
		content, err := l.image()
		if err != nil {
			return nil, err
		}
		if image, err = mutate.AppendLayers(image, content); err != nil {
			return nil, err
		}
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", "amd64"
	config.Env = append([]string{searchPath}, config.Env...)
	file.Config = config
	return mutate.ConfigFile(image, file)
}

// writeImages writes images into one archive, as `docker save` does.
func writeImages(file string, images map[string]v1.Image) error {
	tagged := map[name.Tag]v1.Image{}
	for ref, image := range images {
		tag, err := name.NewTag(ref)
		if err != nil {
			return err
		}
		tagged[tag] = image
	}
	return tarball.MultiWriteToFile(file, tagged)
}

// dexImage is Dex as its official image has it, as far as the chart and devenv
// use it: the program, its web files, a shell with busybox's tools. One is built
// from the released version, another from what comes after it.
func (l *lab) dexImage(ctx context.Context, module, tag string) (string, error) {
	return l.imageArchive(ctx, "image-"+module, module, func(bin string, root *rootfs, to string) error {
		source, err := moduleDir(ctx, filepath.Join(l.root, "modules", module), "github.com/dexidp/dex")
		if err != nil {
			return err
		}
		files := newLayer()
		files.host("/usr/local/bin/dex", filepath.Join(bin, "dex"))
		files.tree("/srv/dex/web", filepath.Join(source, "web"))
		busybox, ok := root.files["/bin/busybox"]
		if !ok {
			busybox = root.files["/usr/bin/busybox"]
		}
		files.file("/bin/busybox", 0o755, busybox)
		for _, tool := range []string{"sh", "base64", "cat", "cut", "grep", "sha256sum"} {
			files.link("/bin/"+tool, "busybox")
		}
		image, err := newImage(v1.Config{User: "1001:1001", WorkingDir: "/"}, files)
		if err != nil {
			return err
		}
		return writeImages(to, map[string]v1.Image{"ghcr.io/dexidp/dex:" + tag: image})
	})
}

// certManagerImages are cert-manager's three programs, which are one binary.
func (l *lab) certManagerImages(ctx context.Context) (string, error) {
	return l.imageArchive(ctx, "image-certmanager", "certmanager", func(bin string, _ *rootfs, to string) error {
		binary := func() *layer {
			files := newLayer()
			files.host("/app/certmanager", filepath.Join(bin, "certmanager"))
			for _, p := range []string{"controller", "webhook", "cainjector"} {
				files.link("/app/"+p, "certmanager")
			}
			return files
		}
		images := map[string]v1.Image{}
		for _, p := range []string{"controller", "webhook", "cainjector"} {
			image, err := newImage(v1.Config{User: "1000", Entrypoint: []string{"/app/" + p}}, binary())
			if err != nil {
				return err
			}
			images["quay.io/jetstack/cert-manager-"+p+":"+certManagerVersion] = image
		}
		return writeImages(to, images)
	})
}

// caddyImage is Caddy as its official image has it.
func (l *lab) caddyImage(ctx context.Context) (string, error) {
	return l.imageArchive(ctx, "image-caddy", "caddy", func(bin string, _ *rootfs, to string) error {
		files := newLayer()
		files.host("/usr/bin/caddy", filepath.Join(bin, "caddy"))
		config := v1.Config{Env: []string{"XDG_CONFIG_HOME=/config", "XDG_DATA_HOME=/data"}, Cmd: []string{"caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"}}
		image, err := newImage(config, files)
		if err != nil {
			return err
		}
		return writeImages(to, map[string]v1.Image{caddyRef: image})
	})
}

// The images that stand in the place of Klutch's, and Caddy's.
const (
	backendRef   = "lab/klutch-backend:1"
	konnectorRef = "lab/klutch-konnector:1"
	caddyRef     = "docker.io/library/caddy:" + caddyTag
)

func (l *lab) partyKey() (string, error) {
	return l.key([]string{"relyingparty", "images.go", "layer.go"})
}

// partyImages are the relying party that stands for Klutch's programs.
func (l *lab) partyImages(ctx context.Context) (string, error) {
	key, err := l.partyKey()
	if err != nil {
		return "", err
	}
	return l.artifact("image-relyingparty", key, ".tar", func(to string) error {
		binary, err := l.ownBinary(ctx, "relyingparty")
		if err != nil {
			return err
		}
		images := map[string]v1.Image{}
		for ref, entrypoint := range map[string][]string{backendRef: {"/relyingparty"}, konnectorRef: {"/relyingparty", "konnector"}} {
			files := newLayer()
			files.host("/relyingparty", binary)
			if images[ref], err = newImage(v1.Config{User: "65532:65532", Entrypoint: entrypoint}, files); err != nil {
				return err
			}
		}
		return writeImages(to, images)
	})
}

func (l *lab) imageKey(module string) (string, error) {
	return l.key([]string{"modules/" + module, "build.go", "images.go", "layer.go"})
}

// imageArchive makes an archive out of one module's binaries.
func (l *lab) imageArchive(ctx context.Context, name, module string, write func(bin string, root *rootfs, to string) error) (string, error) {
	key, err := l.imageKey(module)
	if err != nil {
		return "", err
	}
	return l.artifact(name, key, ".tar", func(to string) error {
		bin, err := l.binaries(ctx, module)
		if err != nil {
			return err
		}
		root, err := l.rootfs(ctx)
		if err != nil {
			return err
		}
		files, err := readRootfs(root)
		if err != nil {
			return err
		}
		return write(bin, files, to)
	})
}

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

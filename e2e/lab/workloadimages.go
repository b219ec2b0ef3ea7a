package main

import (
	"context"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

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

// oauth2ProxyImage is OAuth2 Proxy as its official image has it.
func (l *lab) oauth2ProxyImage(ctx context.Context) (string, error) {
	return l.imageArchive(ctx, "image-oauth2proxy", "oauth2proxy", func(bin string, _ *rootfs, to string) error {
		files := newLayer()
		files.host("/bin/oauth2-proxy", filepath.Join(bin, "oauth2proxy"))
		image, err := newImage(v1.Config{User: "65532:65532", Entrypoint: []string{"/bin/oauth2-proxy"}}, files)
		if err != nil {
			return err
		}
		return writeImages(to, map[string]v1.Image{oauth2ProxyRef: image})
	})
}

const (
	caddyRef       = "docker.io/library/caddy:" + caddyTag
	oauth2ProxyRef = "quay.io/oauth2-proxy/oauth2-proxy:" + oauth2ProxyTag
)

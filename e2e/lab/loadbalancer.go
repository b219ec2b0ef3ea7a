package main

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/devenv-oidc/devenv/profiles"
)

// loadBalancerImage stands in for Envoy's, which cannot be built from Go modules:
// what kind's command line for it needs, and a program of the lab's own.
func (l *lab) loadBalancerImage(ctx context.Context) (string, error) {
	key, err := l.key([]string{"loadbalancer", "loadbalancer.go", "layer.go", "images.go"})
	if err != nil {
		return "", err
	}
	return l.artifact("image-loadbalancer", key, ".tar", func(to string) error {
		program, err := l.ownBinary(ctx, "loadbalancer")
		if err != nil {
			return err
		}
		debian, err := l.rootfs(ctx)
		if err != nil {
			return err
		}
		root, err := readRootfs(debian)
		if err != nil {
			return err
		}
		files := newLayer()
		files.host("/usr/local/bin/envoy", program)
		seen := map[string]bool{}
		for _, tool := range []string{"bash", "cat", "chmod", "cp", "mkdir", "mv", "sleep"} {
			name := "/bin/" + tool
			if _, ok := root.files[root.resolve(name)]; !ok {
				name = "/usr/bin/" + tool
			}
			if err := root.program(files, name, seen); err != nil {
				return err
			}
		}
		files.link("/bin/sh", "bash")
		image, err := newImage(v1.Config{Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin"}}, files)
		if err != nil {
			return err
		}
		return writeImages(to, map[string]v1.Image{loadBalancerPin().Ref(): image})
	})
}

// loadBalancerPin has the name that kind uses.
func loadBalancerPin() profiles.ImagePin { return profiles.Pinned().Images[profiles.LoadBalancerImage] }

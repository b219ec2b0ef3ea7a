package main

import (
	"context"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

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

func (l *lab) imageKey(module string) (string, error) {
	return l.key([]string{"modules/" + module, "build.go", "images.go", "workloadimages.go", "layer.go"})
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

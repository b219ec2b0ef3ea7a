package kindruntime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/cluster"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/image"
)

// Load puts images into the nodes of clusters: each is the name of one that the
// engine has, or a path of an archive. did hears of each image when it is there.
func (r *Runtime) Load(ctx context.Context, clusters, images []string, did func(cluster, image string, changed bool)) error {
	if err := r.Find(ctx); err != nil {
		return err
	}
	for _, name := range clusters {
		state, err := r.State(ctx, name)
		if err != nil {
			return err
		}
		if state != "running" {
			return failure.Newf(failure.Prerequisite, "cluster %q is %s, so that no image can be loaded", name, state).Hint("%s", r.env.Record.UpAgain())
		}
	}
	return r.load(ctx, clusters, images, did)
}

func (r *Runtime) load(ctx context.Context, clusters, images []string, did func(cluster, image string, changed bool)) error {
	var list []cluster.LocalImage
	for _, what := range images { // all of them are looked for before anything changes
		found, closeArchive, err := r.local(ctx, what)
		if err != nil {
			return err
		}
		defer closeArchive()
		list = append(list, found...)
	}
	for _, name := range clusters {
		for _, local := range list {
			changed, err := r.handle(name).LoadLocal(ctx, local)
			if err != nil {
				return failure.New(failure.Provisioning, err)
			}
			did(name, local.Ref, changed)
		}
	}
	return nil
}

// local finds what a name or path stands for.
func (r *Runtime) local(ctx context.Context, what string) (list []cluster.LocalImage, closeArchive func(), err error) {
	if what == "" {
		return nil, nil, failure.Newf(failure.Usage, "an image has no name")
	}
	if isArchive(what) {
		archive, err := image.Open(what)
		if err != nil {
			return nil, nil, failure.New(failure.Usage, err, "name an image of "+r.engine.Command+", what docker save wrote, or an OCI layout")
		}
		for _, i := range archive.Images {
			list = append(list, cluster.LocalImage{Ref: i.Ref, ID: i.ID, Save: func(ctx context.Context, w io.Writer) error { return i.Write(ctx, w) }})
		}
		return list, func() { _ = archive.Close() }, nil
	}
	if _, err := image.FullRef(what); err != nil {
		return nil, nil, failure.New(failure.Usage, err)
	}
	found, err := r.engine.Local(ctx, what)
	var absent *cluster.NoImageError
	if errors.As(err, &absent) {
		return nil, nil, failure.New(failure.Usage, err,
			fmt.Sprintf("build it: %s build --tag %s .", absent.Command, what), fmt.Sprintf("or pull it: %s pull %s", absent.Command, what))
	}
	return []cluster.LocalImage{found}, func() {}, err
}

// isArchive tells a path from an image's name: a folder of that name may be
// anything, unless it is a layout.
func isArchive(what string) bool {
	if strings.HasPrefix(what, ".") || strings.HasPrefix(what, "/") || strings.HasSuffix(what, ".tar") {
		return true
	}
	info, err := os.Stat(what)
	if err == nil && info.IsDir() {
		_, err = os.Stat(filepath.Join(what, "oci-layout"))
	}
	return err == nil
}

// loadProfileImages loads what the profile names for a cluster.
func (r *Runtime) loadProfileImages(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	err = r.load(ctx, []string{c.Name}, c.Images, func(_, _ string, did bool) { changed = changed || did })
	return changed, err
}

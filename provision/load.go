package provision

import (
	"context"

	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/record"
)

// LoadRequest asks for images in nodes.
type LoadRequest struct {
	// Images are names of images that the container engine has, or paths of
	// archives: what docker save writes, or an OCI layout.
	Images []string
	// Cluster into whose node they go; all clusters when empty.
	Cluster string
	// Did hears of each image when it is there; nil for nobody.
	Did func(Loaded)
}

// Loaded is an image in a node.
type Loaded struct {
	Image   string `json:"image"`
	Cluster string `json:"cluster"`
	// Changed is false where that very image was there already.
	Changed bool `json:"changed"`
}

// imageLoader is a runtime with nodes.
type imageLoader interface {
	Load(ctx context.Context, clusters, images []string, did func(cluster, image string, changed bool)) error
}

// Load puts images into nodes. An error of class Usage says that there are no
// nodes, or no such image or cluster; then nothing was changed.
func (e *Environment) Load(ctx context.Context, r LoadRequest) error {
	loader, ok := e.runtime.(imageLoader)
	if !ok {
		return failure.Newf(failure.Usage, "environment %q runs as plain processes, which run no images", e.env.Name()).
			Hint("with a container engine: devenv up --runtime kind --recreate%s", record.NameFlag(e.env.Name()))
	}
	var clusters []string
	for _, c := range e.env.Spec().Clusters {
		if r.Cluster == "" || r.Cluster == c.Name {
			clusters = append(clusters, c.Name)
		}
	}
	if len(clusters) == 0 {
		return failure.Newf(failure.Usage, "there is no cluster %q in environment %q", r.Cluster, e.env.Name()).
			Hint("the clusters are: %s", e.env.Record.ClusterNames())
	}
	return loader.Load(ctx, clusters, r.Images, func(cluster, image string, changed bool) {
		if r.Did != nil {
			r.Did(Loaded{Image: image, Cluster: cluster, Changed: changed})
		}
	})
}

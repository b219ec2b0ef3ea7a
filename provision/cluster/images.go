package cluster

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"sigs.k8s.io/kind/pkg/cluster/nodeutils"

	refs "github.com/devenv-oidc/devenv/provision/image"
)

// Image is one that pods will run.
type Image struct {
	// Ref is what the pods name, repository:tag.
	Ref string
	// Digest that it must have when it comes from a registry.
	Digest string
	// Archive holds it, as `docker save` writes it; empty for the engine's own
	// or the registry's.
	Archive string
}

// LoadImages puts images into every node: from their archive, from the engine if
// it has the very image, or by having the node pull it by digest. Those that
// are there already are left alone.
func (c *Cluster) LoadImages(ctx context.Context, images []Image) (changed bool, err error) {
	for _, node := range c.spec.nodeNames() {
		did, err := c.loadImagesInto(ctx, node, images)
		if changed = changed || did; err != nil {
			return changed, err
		}
	}
	return changed, nil
}

func (c *Cluster) loadImagesInto(ctx context.Context, node string, images []Image) (changed bool, err error) {
	have, err := c.engine.output(ctx, "exec", node, "ctr", "--namespace=k8s.io", "images", "ls", "-q")
	if err != nil {
		return false, fmt.Errorf("could not list the images in the node %s: %w", node, err)
	}
	present := map[string]bool{}
	for _, ref := range strings.Fields(have) {
		present[ref] = true
	}
	archives := map[string]bool{}
	var loads []func() error
	for _, image := range images {
		full, err := refs.FullRef(image.Ref)
		if err != nil {
			return false, err
		}
		switch {
		case present[full]:
		case image.Archive != "":
			if !archives[image.Archive] {
				archives[image.Archive] = true
				loads = append(loads, func() error { return c.loadArchive(ctx, node, image) })
			}
		case c.engine.holds(ctx, image.Ref, image.Digest):
			loads = append(loads, func() error { return c.loadFromEngine(ctx, node, image) })
		default:
			loads = append(loads, func() error { return c.pull(ctx, node, image) })
		}
	}
	errs := make([]error, len(loads))
	var group sync.WaitGroup
	for i, load := range loads {
		group.Go(func() { errs[i] = load() })
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			if ctx.Err() != nil {
				return false, ctx.Err()
			}
			return false, err
		}
	}
	return len(loads) > 0, nil
}

func (c *Cluster) loadArchive(ctx context.Context, node string, image Image) error {
	f, err := os.Open(image.Archive)
	if err != nil {
		return fmt.Errorf("could not load the image %s: %w", image.Ref, err)
	}
	defer f.Close()
	defer context.AfterFunc(ctx, func() { f.Close() })() // ends the import
	return c.load(node, image.Ref+" from "+filepath.Base(image.Archive), f)
}

func (c *Cluster) load(name, what string, archive io.Reader) error {
	node, err := c.node(name)
	if err != nil {
		return err
	}
	if err := nodeutils.LoadImageArchive(node, archive); err != nil {
		return fmt.Errorf("could not load the image %s: %w", what, err)
	}
	return nil
}

// loadFromEngine falls back to pulling: with Docker's containerd image store,
// what it saves of an image of several platforms lacks the other platforms, and
// the node rejects that (kubernetes-sigs/kind#3795).
func (c *Cluster) loadFromEngine(ctx context.Context, node string, image Image) error {
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(c.engine.run(ctx, nil, writer, "save", image.Ref)) }()
	err := c.load(node, image.Ref+" from "+c.engine.Command, reader)
	reader.Close()
	if err != nil && image.Digest != "" && ctx.Err() == nil {
		return c.pull(ctx, node, image)
	}
	return err
}

// pull fetches by digest and tags the result, so that pods may name the tag
// and nobody can have moved it.
func (c *Cluster) pull(ctx context.Context, node string, image Image) error {
	ref := image.Ref
	if image.Digest != "" {
		repository, _, _ := cutTag(image.Ref)
		ref = repository + "@" + image.Digest
	}
	ctr := []string{"exec", node, "ctr", "--namespace=k8s.io", "images"}
	if _, err := c.engine.output(ctx, append(ctr, "pull", ref)...); err != nil {
		return fmt.Errorf("could not pull the image %s: %w", ref, err)
	}
	if ref != image.Ref {
		if _, err := c.engine.output(ctx, append(ctr, "tag", "--force", ref, image.Ref)...); err != nil {
			return fmt.Errorf("could not tag the image %s: %w", image.Ref, err)
		}
	}
	return nil
}

// cutTag splits repository:tag; a registry's port is not a tag.
func cutTag(ref string) (repository, tag string, found bool) {
	i := strings.LastIndex(ref, ":")
	if i < 0 || strings.Contains(ref[i:], "/") {
		return ref, "", false
	}
	return ref[:i], ref[i+1:], true
}

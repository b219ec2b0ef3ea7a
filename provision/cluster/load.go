package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	refs "github.com/devenv-oidc/devenv/provision/image"
)

// LocalImage is one of this machine, of which pods shall run what it is now.
type LocalImage struct {
	// Ref as containerd lists it, docker.io/library/app:dev.
	Ref string
	// ID tells what was built anew from what it was before.
	ID string
	// Save writes it as `docker save` does.
	Save func(ctx context.Context, w io.Writer) error
}

// NoImageError says that the engine does not have an image.
type NoImageError struct{ Command, Ref string }

func (e *NoImageError) Error() string { return e.Command + " has no image " + e.Ref }

// Local is an image of the engine's by the name that it was built under, or a
// *NoImageError.
func (e *Engine) Local(ctx context.Context, ref string) (LocalImage, error) {
	full, err := refs.FullRef(ref)
	if err != nil {
		return LocalImage{}, err
	}
	id, err := e.output(ctx, "image", "inspect", "--format", "{{.Id}}", ref)
	if err != nil {
		if said := strings.ToLower(err.Error()); strings.Contains(said, "no such") || strings.Contains(said, "not found") || strings.Contains(said, "not known") {
			return LocalImage{}, &NoImageError{Command: e.Command, Ref: ref}
		}
		return LocalImage{}, err
	}
	return LocalImage{Ref: full, ID: id, Save: func(ctx context.Context, w io.Writer) error { return e.run(ctx, nil, w, "save", ref) }}, nil
}

// loadedLabel is on images in a node that LoadLocal put there: the image's ID,
// and the digest that it has there.
const loadedLabel = "devenv.dev/loaded"

// LoadLocal puts an image into every node, unless that very image is there: one
// of the same name that was built anew replaces it.
func (c *Cluster) LoadLocal(ctx context.Context, image LocalImage) (changed bool, err error) {
	for _, node := range c.spec.nodeNames() {
		did, err := c.loadLocalInto(ctx, node, image)
		if changed = changed || did; err != nil {
			return changed, err
		}
	}
	return changed, nil
}

func (c *Cluster) loadLocalInto(ctx context.Context, node string, image LocalImage) (changed bool, err error) {
	fail := func(err error) error {
		return fmt.Errorf("could not load the image %s into the node %s: %w", image.Ref, node, err)
	}
	there, err := c.inNode(ctx, node, image.Ref)
	if err != nil {
		return false, fail(err)
	}
	if there.digest != "" && there.loaded == image.ID+"@"+there.digest {
		return false, nil
	}
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(image.Save(ctx, writer)) }()
	err = c.load(node, image.Ref, reader)
	reader.Close()
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return false, fail(err)
	}
	if there, err = c.inNode(ctx, node, image.Ref); err != nil {
		return true, fail(err)
	}
	if there.digest == "" {
		return true, fail(errors.New("it was imported, but not under this name"))
	}
	if _, err := c.engine.output(ctx, "exec", node, "ctr", "--namespace=k8s.io", "images", "label", image.Ref, loadedLabel+"="+image.ID+"@"+there.digest); err != nil {
		return true, fail(err)
	}
	return true, nil
}

// nodeImage is an image in a node; zero where there is none.
type nodeImage struct{ digest, loaded string }

// inNode reads the list that ctr prints: name, type, digest, size, platforms and
// labels.
func (c *Cluster) inNode(ctx context.Context, node, ref string) (nodeImage, error) {
	text, err := c.engine.output(ctx, "exec", node, "ctr", "--namespace=k8s.io", "images", "ls", "name=="+ref)
	if err != nil {
		return nodeImage{}, err
	}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[0] != ref {
			continue
		}
		found := nodeImage{digest: fields[2]}
		for label := range strings.SplitSeq(fields[len(fields)-1], ",") {
			if value, ok := strings.CutPrefix(label, loadedLabel+"="); ok {
				found.loaded = value
			}
		}
		return found, nil
	}
	return nodeImage{}, nil
}

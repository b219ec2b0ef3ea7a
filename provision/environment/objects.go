package environment

import (
	"context"
	"fmt"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/manifest"
	"github.com/devenv-oidc/devenv/provision/state"
)

// Objects are all that the profile says for a cluster: those of its manifests,
// and its own without placeholders.
func Objects(ctx context.Context, e *Environment, c profiles.Cluster) ([]kube.Object, error) {
	manifests, err := ManifestObjects(ctx, e, c)
	if err != nil {
		return nil, err
	}
	own, err := Fill(e, c.Objects)
	return append(manifests, own...), err
}

// ManifestSource is where a manifest comes from; a sources file may have it
// elsewhere.
func ManifestSource(pins profiles.Pins, m profiles.Manifest) manifest.Source {
	return manifest.Source{
		URL: m.URL, SHA256: m.SHA256,
		Repository: m.Repository, Commit: m.Commit, Path: m.Path,
		Local: pins.Manifests[m.Address()],
	}
}

// ManifestObjects are the objects of a cluster's manifests, which are fetched
// where they are not stored yet.
func ManifestObjects(ctx context.Context, e *Environment, c profiles.Cluster) ([]kube.Object, error) {
	if len(c.Manifests) == 0 {
		return nil, nil
	}
	cache, err := state.CacheFolder("manifests")
	if err != nil {
		return nil, err
	}
	var all []kube.Object
	for _, m := range c.Manifests {
		objects, err := ManifestSource(e.Record.Pins, m).Objects(ctx, cache)
		if err != nil {
			return nil, failure.New(failure.Prerequisite, err, "without access to the network, name a file or folder for it in a sources file (DEVENV_SOURCES); see profiles/README.md")
		}
		for _, o := range objects {
			if kind := fmt.Sprint(o["kind"]); !e.Runtime.Pods && profiles.StartsPods(kind) {
				return nil, failure.Newf(failure.Usage, "the manifest %s has a %s, and plain processes have no pods", m.Address(), kind).
					Hint("with a container engine: devenv up --runtime kind")
			}
		}
		all = append(all, objects...)
	}
	return all, nil
}

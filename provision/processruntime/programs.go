package processruntime

import (
	"context"
	"fmt"
	"maps"
	"os"

	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/programs"
	"github.com/devenv-oidc/devenv/provision/state"
	"github.com/devenv-oidc/devenv/provision/steps"
)

// KubernetesPrograms are taken from a node image.
var KubernetesPrograms = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kubectl"}

// findPrograms finds the files of all binaries: those that the sources file
// names, the others from the images that kind would use.
func (r *Runtime) findPrograms(ctx context.Context) (changed bool, err error) {
	r.finding.Lock()
	defer r.finding.Unlock()
	r.mu.Lock()
	found := r.files != nil
	r.mu.Unlock()
	if found {
		return false, nil
	}
	pins, files := r.env.Record.Pins, map[string]string{}
	for _, c := range r.env.Spec().Clusters {
		version := c.KubernetesVersion
		image := pins.NodeImages[version]
		got, did, err := EnsureFiles(ctx, r.env.Record.Sources, pins.Programs.Kubernetes[version], programs.Source{Image: image.Image, Archive: image.Archive}, KubernetesPrograms)
		if err != nil {
			return changed, err
		}
		for name, file := range got {
			files[version+"/"+name] = file
		}
		changed = changed || did
	}
	if !r.env.External() {
		image := steps.DexImage(r.env)
		named := map[string]string{identity.Program: pins.Programs.Dex[image.Tag]}
		got, did, err := EnsureFiles(ctx, r.env.Record.Sources, named, programs.Source{Image: image.Pinned(), Archive: image.Archive}, []string{identity.Program})
		if err != nil {
			return changed, err
		}
		files[identity.Program] = got[identity.Program]
		changed = changed || did
	}
	r.mu.Lock()
	r.files = files
	r.mu.Unlock()
	return changed, nil
}

// EnsureFiles returns files by the names of their binaries: those that the file
// sources names, and the others from an image.
func EnsureFiles(ctx context.Context, sources string, named map[string]string, image programs.Source, names []string) (files map[string]string, changed bool, err error) {
	files = map[string]string{}
	var others []string
	for _, name := range names {
		if named[name] == "" {
			others = append(others, name)
			continue
		}
		if _, err := os.Stat(named[name]); err != nil {
			return nil, false, failure.New(failure.Prerequisite, &failure.UnsuitableError{Err: fmt.Errorf("could not find the program %s that the sources file %s names: %w", name, sources, err)},
				"correct the file, or name another one by DEVENV_SOURCES")
		}
		files[name] = named[name]
	}
	if len(others) == 0 {
		return files, false, nil
	}
	cache, err := state.CacheFolder("programs")
	if err != nil {
		return nil, false, err
	}
	got, changed, err := programs.Ensure(ctx, cache, image, others...)
	if err != nil && ctx.Err() == nil {
		err = failure.New(failure.Prerequisite, &failure.UnsuitableError{Err: err}, "without access to a registry, set DEVENV_SOURCES to a sources file; see profiles/README.md")
	}
	maps.Copy(files, got)
	return files, changed, err
}

package provision

import (
	"context"
	"fmt"
	"maps"
	"os"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/process"
	"github.com/devenv-oidc/devenv/provision/programs"
)

// kubernetesPrograms are taken out of a node image.
var kubernetesPrograms = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kubectl"}

// ensurePrograms finds the files of all programs: those that the sources file
// names, or else out of the images that kind would use.
func (p *processRuntime) ensurePrograms(ctx context.Context) (changed bool, err error) {
	p.finding.Lock()
	defer p.finding.Unlock()
	if p.program(identity.Program) != "" {
		return false, nil
	}
	files := map[string]string{}
	for _, c := range p.record.Profile.Spec.Clusters {
		version := c.KubernetesVersion
		named := p.pins.Programs.Kubernetes[version]
		image := p.pins.NodeImages[version]
		got, did, err := p.ensureFiles(ctx, named, programs.Source{Image: image.Image, Archive: image.Archive}, kubernetesPrograms)
		if err != nil {
			return changed, err
		}
		for name, file := range got {
			files[version+"/"+name] = file
		}
		changed = changed || did
	}
	image := p.dexImage()
	named := map[string]string{}
	if file := p.pins.Programs.Dex[image.Tag]; file != "" {
		named[identity.Program] = file
	}
	got, did, err := p.ensureFiles(ctx, named, programs.Source{Image: image.Pinned(), Archive: image.Archive}, []string{identity.Program})
	if err != nil {
		return changed, err
	}
	files[identity.Program] = got[identity.Program]
	p.mu.Lock()
	p.files = files
	p.mu.Unlock()
	return changed || did, nil
}

// ensureFiles returns files by the names of their programs: those that are
// named, and the others out of an image.
func (p *processRuntime) ensureFiles(ctx context.Context, named map[string]string, image programs.Source, names []string) (files map[string]string, changed bool, err error) {
	files = map[string]string{}
	var others []string
	for _, name := range names {
		if named[name] == "" {
			others = append(others, name)
			continue
		}
		if _, err := os.Stat(named[name]); err != nil {
			return nil, false, failure.New(failure.Prerequisite, fmt.Errorf("could not find the program %s that the sources file %s names: %w", name, p.record.Sources, err),
				"correct the file, or name another one by DEVENV_SOURCES")
		}
		files[name] = named[name]
	}
	if len(others) == 0 {
		return files, false, nil
	}
	cache, err := cacheFolder("programs")
	if err != nil {
		return nil, false, err
	}
	got, changed, err := programs.Ensure(ctx, cache, image, others...)
	if err != nil && ctx.Err() == nil {
		err = failure.New(failure.Prerequisite, err, "where no registry is to be had, set DEVENV_SOURCES to a sources file; see the README")
	}
	maps.Copy(files, got)
	return files, changed, err
}

// ensureNode starts a control plane. While Dex is not there, its port is held
// for it: the API server's first question is then answered as soon as it can
// be.
func (p *processRuntime) ensureNode(ctx context.Context, c profiles.Cluster) (changed bool, err error) {
	first := c.Name == p.first().Name // the others' are no business of Dex's
	if first {
		if _, err := p.dex().EndStrays(ctx); err != nil {
			return false, err
		}
	}
	if err := p.freeInternalPorts(ctx, c); err != nil {
		return false, err
	}
	if first {
		if err := p.holdLine(); err != nil {
			return false, p.explain(err)
		}
	}
	return p.Environment.ensureNode(ctx, c)
}

func (p *processRuntime) holdLine() error {
	running, _ := p.dex().Running()
	p.mu.Lock()
	defer p.mu.Unlock()
	if running || p.line != nil {
		return nil
	}
	line, err := process.Hold(p.record.IssuerPort)
	p.line = line
	return err
}

// freeInternalPorts chooses another port where somebody else took one while its
// process did not run: nobody outside knows these.
func (p *processRuntime) freeInternalPorts(ctx context.Context, c profiles.Cluster) error {
	owners := map[string]*process.Process{}
	if c.Name == p.first().Name {
		owners[dexAdminPort] = p.dex()
	}
	etcd := &process.Process{Folder: string(p.dir), Name: c.Name + ".etcd"}
	if _, err := etcd.EndStrays(ctx); err != nil {
		return err
	}
	owners[etcdPort(c.Name)], owners[etcdPeerPort(c.Name)] = etcd, etcd
	p.mu.Lock()
	defer p.mu.Unlock()
	changed := false
	for name, owner := range owners {
		if running, _ := owner.Running(); running || portFree(p.record.InternalPorts[name]) {
			continue
		}
		taken, err := portsOfOthers(p.home, p.record.Name)
		if err != nil {
			return err
		}
		for _, port := range p.record.Ports() {
			taken[port] = true
		}
		if p.record.InternalPorts[name], err = freePort(firstAPIPort, lastAPIPort, taken); err != nil {
			return err
		}
		changed = true
	}
	if !changed {
		return nil
	}
	return p.dir.Save(p.record)
}

package provision

import (
	"context"
	"errors"
	"io/fs"

	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/process"
	"github.com/devenv-oidc/devenv/provision/state"
)

// Down removes an environment, however much of it is left: processes,
// containers and their volumes, kubeconfig entries, the state folder. changed
// says whether there was anything.
func Down(ctx context.Context, home state.Home, name string) (changed bool, err error) {
	changed, err = down(ctx, home, name)
	return changed, explainDisk(home, err)
}

func down(ctx context.Context, home state.Home, name string) (changed bool, err error) {
	if err := checkName(name); err != nil {
		return false, err
	}
	unlock, err := lock(ctx, home, name)
	if err != nil {
		return false, err
	}
	defer unlock()
	record, err := home.Dir(name).Record()
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) && !home.Dir(name).Exists() {
			return false, err
		}
		record = &state.Record{Name: name} // unreadable or never written
	}
	return newEnvironment(home, record).remove(ctx)
}

func (e *Environment) remove(ctx context.Context) (changed bool, err error) {
	// whatever the record says: one that cannot be read says nothing
	ended, err := process.StopAll(ctx, string(e.dir))
	if err != nil {
		return len(ended) > 0, failure.New(failure.Provisioning, err, "try it again: devenv down"+nameFlag(e.record.Name))
	}
	removed, err := e.runtime.remove(ctx)
	if err != nil {
		return len(ended) > 0 || removed, err
	}
	unmerged, err := e.unmergeKubeconfig()
	if err != nil {
		return len(ended) > 0 || removed, err
	}
	existed := e.dir.Exists()
	return len(ended) > 0 || removed || unmerged || existed, e.dir.Remove()
}

package provision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/devenv-oidc/devenv/provision/cluster"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/state"
)

// Down removes an environment, however much of it is left: containers and
// their volumes, kubeconfig entries, the state folder. changed says whether
// there was anything.
func Down(ctx context.Context, home state.Home, name string) (changed bool, err error) {
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
	removed, err := e.removeContainers(ctx)
	if err != nil {
		return len(removed) > 0, err
	}
	unmerged, err := e.unmergeKubeconfig()
	if err != nil {
		return len(removed) > 0, err
	}
	existed := e.dir.Exists()
	return len(removed) > 0 || unmerged || existed, e.dir.Remove()
}

func (e *Environment) removeContainers(ctx context.Context) ([]string, error) {
	if err := e.findEngine(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if e.record.Engine == "" && errors.Is(err, cluster.ErrNoEngine) {
			return nil, nil // there is none, and never was: no containers either
		}
		return nil, failure.New(failure.Prerequisite, fmt.Errorf("could not remove the containers of environment %q: %w", e.record.Name, err))
	}
	return e.engine.DeleteUnder(ctx, string(e.dir))
}

package provision

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/process"
	"github.com/devenv-oidc/devenv/provision/processruntime"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/session"
	"github.com/devenv-oidc/devenv/provision/state"
)

// Down deletes an environment, however much of it is left: processes,
// containers and their volumes, kubeconfig entries, the state folder. changed
// says whether there was anything.
func Down(ctx context.Context, home state.Home, name string) (changed bool, err error) {
	return downIf(ctx, home, name, func() bool { return true })
}

// downIf is Down where a condition holds once nobody else works on the
// environment any more.
func downIf(ctx context.Context, home state.Home, name string, still func() bool) (changed bool, err error) {
	changed, err = lockedDown(ctx, home, name, still)
	return changed, explainDisk(home, err)
}

func lockedDown(ctx context.Context, home state.Home, name string, still func() bool) (changed bool, err error) {
	if err := checkName(name); err != nil {
		return false, err
	}
	unlock, err := lock(ctx, home, name)
	if err != nil {
		return false, err
	}
	defer unlock()
	if !still() {
		return false, nil
	}
	r, err := record.Load(home.Dir(name))
	if err == nil {
		return newEnvironment(home, r).remove(ctx)
	}
	if !errors.Is(err, fs.ErrNotExist) && !home.Dir(name).Exists() {
		return false, err
	}
	// it is unreadable, or was never written
	return removeAnywhere(ctx, home, name)
}

// removeAnywhere deletes an environment of which nothing is known but its name:
// it may have run on any runtime. One that cannot be asked keeps no other from
// being deleted.
func removeAnywhere(ctx context.Context, home state.Home, name string) (changed bool, err error) {
	for _, runtime := range slices.Backward(runtimes) {
		e := environment.New(home, &record.Record{Name: name}, runtime.Runtime)
		did, removeErr := runtime.open(e).Remove(ctx)
		changed, err = changed || did, errors.Join(err, removeErr)
	}
	if err != nil { // what is left is found by the folder's name
		return changed, err
	}
	did, err := removeFiles(environment.New(home, &record.Record{Name: name}, record.Runtime{}))
	return changed || did, err
}

// remove deletes everything; the lock is held. Processes end whatever the
// record says: it may be younger than they are.
func (e *Environment) remove(ctx context.Context) (changed bool, err error) {
	ended, err := processruntime.New(e.env).Remove(ctx)
	if err != nil {
		return ended, err
	}
	removed, err := e.runtime.Remove(ctx)
	if changed = ended || removed; err != nil {
		return changed, err
	}
	did, err := removeFiles(e.env)
	return changed || did, err
}

// removeFiles deletes the entries in the user's kubeconfigs and the state
// folder.
func removeFiles(e *environment.Environment) (changed bool, err error) {
	defer func() {
		if err == nil { // last, for it ends what another error leaves
			err = process.StopReaper(context.Background(), string(e.Dir))
		}
	}()
	unmerged, err := session.Unmerge(e)
	if err != nil {
		return unmerged, err
	}
	existed := e.Dir.Exists()
	return unmerged || existed, e.Dir.Remove()
}

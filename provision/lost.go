package provision

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/state"
)

// LostError says that containers or processes of an environment are there, and
// its record is not. They cannot be used again: the keys, the CA's first, were
// in the same folder.
type LostError struct {
	Name    string
	Runtime string
	// Folder is where the record should be.
	Folder string
}

func (e *LostError) Error() string {
	what := "containers"
	if e.Runtime == profiles.RuntimeProcess {
		what = "processes"
	}
	return fmt.Sprintf("%s of environment %q are there, but not its record in %s; without its keys they are of no use to anybody", what, e.Name, e.Folder)
}

// lost are the environments that have no record and of which something is left,
// by name.
func lost(ctx context.Context, home state.Home) map[string]*LostError {
	found := map[string]*LostError{}
	for _, runtime := range runtimes {
		for _, folder := range runtime.left(ctx, string(home)) {
			if name, ok := home.Owner(folder); ok && !record.Exists(home.Dir(name)) {
				found[name] = &LostError{Name: name, Runtime: runtime.Name, Folder: string(home.Dir(name))}
			}
		}
	}
	return found
}

// replaceLost deletes what is left of an environment without a record, if the
// request says so; else it is an error.
func replaceLost(ctx context.Context, r UpRequest) error {
	left := lost(ctx, r.Home)[r.Name]
	switch {
	case left == nil:
		return nil
	case !r.Recreate:
		return failure.New(failure.Usage, left,
			"replace them: devenv up --recreate"+record.NameFlag(r.Name)+r.Arguments,
			"or delete them: devenv down"+record.NameFlag(r.Name))
	}
	_, err := removeAnywhere(ctx, r.Home, r.Name)
	return err
}

// removeAnywhere deletes an environment of which nothing is known but its name:
// it may have run on any runtime.
func removeAnywhere(ctx context.Context, home state.Home, name string) (changed bool, err error) {
	for _, runtime := range slices.Backward(runtimes) {
		e := environment.New(home, &record.Record{Name: name}, runtime.Runtime)
		did, err := runtime.open(e).Remove(ctx)
		changed = changed || did
		if err != nil {
			return changed, err
		}
	}
	did, err := removeFiles(environment.New(home, &record.Record{Name: name}, record.Runtime{}))
	return changed || did, err
}

// Names lists the environments that have a folder, and those of which only
// containers or processes are left.
func Names(ctx context.Context, home state.Home) ([]string, error) {
	names, err := home.Names()
	if err != nil {
		return nil, err
	}
	return slices.Compact(slices.Sorted(slices.Values(append(names, slices.Collect(maps.Keys(lost(ctx, home)))...)))), nil
}

package provision

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/state"
)

// LostError says that containers or processes of an environment are there, and
// its record is not. They cannot be used again: without its ports, passwords and
// keys, which were in the same folder, nothing can be proven about them.
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
	return fmt.Sprintf("%s of environment %q are there, but not its record in %s; without it they are of no use to anybody", what, e.Name, e.Folder)
}

// lost are the environments that have no record and of which something is left,
// by name. With an error, of class Prerequisite, there may be more of them.
func lost(ctx context.Context, home state.Home) (map[string]*LostError, error) {
	found := map[string]*LostError{}
	var unknown error
	for _, runtime := range runtimes {
		folders, err := runtime.left(ctx, string(home))
		unknown = errors.Join(unknown, err)
		for _, folder := range folders {
			if name, ok := home.Owner(folder); ok && !record.Exists(home.Dir(name)) {
				found[name] = &LostError{Name: name, Runtime: runtime.Name, Folder: string(home.Dir(name))}
			}
		}
	}
	if unknown != nil {
		unknown = failure.New(failure.Prerequisite, fmt.Errorf("could not ask what is left of environments without a record: %w", unknown), "try again when the container engine answers")
	}
	return found, unknown
}

// Names lists the environments that have a folder, and those of which only
// containers or processes are left. With an error of class Prerequisite there
// may be more of the latter.
func Names(ctx context.Context, home state.Home) ([]string, error) {
	names, err := home.Names()
	if err != nil {
		return nil, err
	}
	left, err := lost(ctx, home)
	return slices.Compact(slices.Sorted(slices.Values(append(names, slices.Collect(maps.Keys(left))...)))), err
}

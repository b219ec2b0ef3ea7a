package provision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/plan"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/state"
)

// failed ends what is under way, keeps what helps to understand the failure,
// and says how to go on.
func (e *Environment) failed(ctx context.Context, err error) error {
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	r := e.env.Record
	again := "continue where it stopped: " + r.UpAgain()
	removed, problems := e.runtime.Abandon(cleanup, ctx.Err() == nil)
	if removed {
		again = "the incomplete cluster was removed; start again: " + r.UpAgain()
	}
	problems = errors.Join(problems, e.env.Save())

	hints := []string{again, "or delete it: devenv down" + record.NameFlag(r.Name)}
	var step *plan.Error
	if !errors.As(err, &step) {
		return errors.Join(err, problems)
	}
	if ctx.Err() != nil {
		return failure.New(failure.Interrupted, errors.Join(fmt.Errorf("interrupted; not done: %s", strings.Join(step.Unfinished, ", ")), problems), hints...)
	}
	class := failure.Provisioning
	var typed *failure.Error
	if errors.As(step.Err, &typed) {
		class, hints = typed.Class, append(slices.Clone(typed.Hints), hints...)
		step.Err = typed.Err
	}
	var unsuitable *failure.UnsuitableError
	if errors.As(err, &unsuitable) {
		hints = append(hints, e.otherRuntimes(cleanup)...)
	}
	if logs := e.env.Dir.Path("logs"); class == failure.Provisioning && exists(logs) {
		hints = append(hints, "logs so far are in "+logs+"; for those of the cluster: devenv logs"+record.NameFlag(r.Name))
	}
	if class == failure.Provisioning || class == failure.Rejected {
		hints = append(hints, "or show it to somebody else, without secrets: devenv report"+record.NameFlag(r.Name))
	}
	return failure.New(class, errors.Join(step, problems), hints...)
}

// otherRuntimes are hints how to make a runtime available that devenv prefers
// to the one that it chose.
func (e *Environment) otherRuntimes(ctx context.Context) (hints []string) {
	if !e.env.Record.RuntimeChosen {
		return nil
	}
	for _, better := range runtimes {
		if better.Name == e.env.Record.Runtime {
			break
		}
		if err := better.available(ctx); err != nil && len(failure.HintsOf(err)) > 0 {
			hints = append(hints, "or get what the runtime "+better.Name+" needs: "+failure.HintsOf(err)[0])
		}
	}
	return hints
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// explainDisk gives errors of the state folder's disk their class and hint.
func explainDisk(home state.Home, err error) error {
	var onPath *fs.PathError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &onPath) && onPath.Op == "fork/exec":
		return failure.New(failure.Prerequisite, err, "the file must be a binary that you are allowed to execute, on a disk that allows it: ls -l "+onPath.Path)
	case errors.Is(err, syscall.ENOSPC):
		return failure.New(failure.Prerequisite, err, "free some space there, or choose another folder by DEVENV_HOME: df -h "+string(home))
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return failure.New(failure.Prerequisite, err, "choose a folder that you can write to by DEVENV_HOME; now it is "+string(home))
	}
	return err
}

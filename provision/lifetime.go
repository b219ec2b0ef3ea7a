package provision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/lifetime"
	"github.com/devenv-oidc/devenv/provision/process"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/state"
)

// lifetime is how long the environment shall live. One that is over already and
// gets no other one stays until `down`: somebody wants it again.
func (r UpRequest) lifetime() (lifetime.Lifetime, error) {
	l, err := lifetime.Read(r.Home.Dir(r.Name))
	if err != nil {
		return l, failure.New(failure.Usage, err, "delete the environment and create it again: devenv down"+record.NameFlag(r.Name))
	}
	if why := l.Over(); why != "" {
		l = lifetime.Lifetime{}
		if r.TTL == nil && len(r.OwnerPIDs) == 0 {
			r.note(why + ": it stays now until devenv down" + record.NameFlag(r.Name))
		}
	}
	if r.TTL != nil {
		l.Until = time.Time{}
		if *r.TTL != 0 {
			l.Until = time.Now().Add(*r.TTL).Round(time.Second)
		}
	}
	for _, pid := range r.OwnerPIDs {
		if pid == 0 {
			l.Owners = nil
			continue
		}
		owner, err := process.Identify(pid)
		if err != nil {
			return l, failure.New(failure.Usage, fmt.Errorf("the environment cannot be made for process %d: %w", pid, err), "in a shell its own number is $$, and that of its parent $PPID")
		}
		l = l.With(owner)
	}
	return l, nil
}

// live lets the environment end when its lifetime is over: the context of an `up`
// that is at work, and by the reaper what it made.
func (e *Environment) live(ctx context.Context, reaper []string) (context.Context, context.CancelFunc, error) {
	l, err := lifetime.Read(e.env.Dir)
	if err != nil || l.Endless() {
		return ctx, func() {}, err
	}
	if len(reaper) > 0 {
		if err := lifetime.StartReaper(ctx, e.env.Dir, reaper); err != nil {
			return ctx, func() {}, failure.New(failure.Prerequisite, err)
		}
	}
	limited, stop := l.Within(ctx)
	return limited, stop, nil
}

// Own adds an owner to an environment that has others: it lives as long as any
// of them. One that is endless stays so, and one that is gone is an error of class
// Usage.
func (e *Environment) Own(ctx context.Context, pid int) error {
	unlock, err := lock(ctx, e.env.Home, e.env.Name())
	if err != nil {
		return err
	}
	defer unlock()
	if !record.Exists(e.env.Dir) { // deleted since it was opened
		return absent(ctx, e.env.Home, e.env.Name())
	}
	l, err := lifetime.Read(e.env.Dir)
	if err != nil || len(l.Owners) == 0 {
		return err
	}
	owner, err := process.Identify(pid)
	if err != nil {
		return err
	}
	return l.With(owner).Write(e.env.Dir)
}

// Collected is an environment that Collect found to be of no more use.
type Collected struct {
	Name string `json:"name"`
	// Reason follows the name in a sentence.
	Reason string `json:"reason"`
	// Deleted is false in a dry run, and where Problem says why not.
	Deleted bool   `json:"deleted"`
	Problem string `json:"problem,omitempty"`
}

// CollectRequest says what else is of no more use.
type CollectRequest struct {
	// OlderThan adds every environment that was created longer ago; 0 adds none.
	OlderThan time.Duration
	// DryRun deletes nothing.
	DryRun bool
}

// Collect deletes environments whose lifetime is over, and what is left of those
// without a record. Another devenv's work is not disturbed: that environment has
// a Problem. The error joins all problems, and says what could not be asked.
func Collect(ctx context.Context, home state.Home, r CollectRequest) ([]Collected, error) {
	names, err := home.Names()
	if err != nil {
		return nil, err
	}
	left, failed := lost(ctx, home)
	for name := range left {
		names = append(names, name)
	}
	slices.Sort(names)
	list := []Collected{}
	for _, name := range slices.Compact(names) {
		reason := func() string {
			if left[name] != nil && !record.Exists(home.Dir(name)) {
				return left[name].Error()
			}
			return useless(home.Dir(name), r.OlderThan)
		}
		found := Collected{Name: name, Reason: reason()}
		if found.Reason == "" || checkName(name) != nil {
			continue
		}
		if !r.DryRun {
			found.Deleted, err = downIf(ctx, home, name, func() bool { return reason() != "" })
			if err != nil {
				found.Problem = err.Error()
				failed = errors.Join(failed, err)
			}
		}
		list = append(list, found)
	}
	return list, failed
}

// useless says why the environment in a folder is of no more use; empty where it
// is, and where the folder is nobody's environment.
func useless(dir state.Dir, olderThan time.Duration) string {
	if l, err := lifetime.Read(dir); err == nil && l.Over() != "" {
		return l.Over()
	}
	if olderThan == 0 {
		return ""
	}
	r, err := record.Load(dir)
	if err != nil {
		return ""
	}
	if age := time.Since(r.Created); age > olderThan && !r.Created.IsZero() {
		return fmt.Sprintf("it was created %s ago", age.Round(time.Second))
	}
	return ""
}

// collectLimit is how long an `up` cares for others.
const collectLimit = 30 * time.Second

// collectBeside deletes other environments whose lifetime is over, for which no
// reaper is there: after a restart of the machine, or where somebody killed it.
func collectBeside(ctx context.Context, r UpRequest) {
	ctx, cancel := context.WithTimeout(ctx, collectLimit)
	defer cancel()
	names, err := r.Home.Names()
	if err != nil {
		return
	}
	for _, name := range names {
		why := useless(r.Home.Dir(name), 0)
		if name == r.Name || why == "" || checkName(name) != nil {
			continue
		}
		if _, err := downIf(ctx, r.Home, name, func() bool { return useless(r.Home.Dir(name), 0) != "" }); err != nil {
			r.note(fmt.Sprintf("environment %s: %s, and could not be deleted: %v", name, why, err))
			continue
		}
		r.note(fmt.Sprintf("environment %s: deleted, %s", name, why))
	}
}

// Reap waits until an environment is over, and deletes it. It returns when there
// is nothing more to wait for: when the environment is gone, or endless.
func Reap(ctx context.Context, home state.Home, name string) error {
	said := ""
	for {
		l, err := lifetime.Read(home.Dir(name))
		if err != nil {
			return err
		}
		if l.Endless() { // or its folder is gone
			return nil
		}
		if l.Over() != "" {
			_, err := downIf(ctx, home, name, func() bool { return useless(home.Dir(name), 0) != "" })
			if text := fmt.Sprint(err); err != nil && text != said { // the folder, and so this log, is there
				said = text
				fmt.Fprintln(os.Stderr, time.Now().Format(time.DateTime), text)
			}
		}
		if _, err := os.Stat(string(home.Dir(name))); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lifetime.Interval):
		}
	}
}

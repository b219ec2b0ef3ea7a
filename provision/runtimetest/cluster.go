// Package runtimetest says what a runtime must do, and tries it: on a fake here,
// on kind and on plain processes in the end-to-end tests.
package runtimetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/devenv-oidc/devenv/provision/steps"
)

// Cluster is one cluster of a runtime, there or not.
type Cluster interface {
	// Boot makes it run: a new one, one that was stopped, or, with nothing to
	// do, the one that runs. What an interrupted creation left is completed or
	// replaced. Its API server may still be starting.
	//
	// WaitForAPIServer returns when the API server answers its administrator,
	// whose kubeconfig it returns.
	//
	// Finish makes the cluster complete; changed says whether it had to do
	// anything for that.
	steps.Cluster
	// Complete says whether it was ever finished.
	Complete() bool
	// State says what there is of it: absent, incomplete, stopped, broken (a
	// part of it runs) or running.
	State(ctx context.Context) (string, error)
	// APIServerLog returns the last lines of the API server's log, each with
	// its time in front (RFC 3339).
	APIServerLog(ctx context.Context) (string, error)
	// CollectLogs writes all its logs to a folder.
	CollectLogs(folder string) error
	// Abandon ends a creation by this very handle and removes what it made, but
	// with keepFailed only if it is still under way.
	Abandon(ctx context.Context, keepFailed bool) (removed bool, err error)
	// Delete removes it, whatever there is of it.
	Delete(ctx context.Context) (changed bool, err error)
}

// Subject is a cluster to try, which is not there yet.
type Subject struct {
	// New returns a handle that knows nothing of those before, as that of
	// another command.
	New func() Cluster
	// Keep stores something in the cluster that a kubeconfig is for, and Kept
	// says whether it is there.
	Keep, Kept func(ctx context.Context, kubeconfig []byte) error
	// Kill ends everything that runs, behind the handle's back.
	Kill func() error
	// Folder for logs, empty.
	Folder string
}

// Check takes a cluster through its life. The error names the first thing that
// is not as it must be.
func Check(ctx context.Context, s Subject) error {
	for _, part := range []struct {
		name string
		run  func(context.Context, Subject) error
	}{
		{"before it is made", absent},
		{"made", made},
		{"found again", foundAgain},
		{"its logs", logs},
		{"after everything was killed", revived},
		{"deleted", deleted},
		{"abandoned while it is made", abandoned},
	} {
		if err := part.run(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

func absent(ctx context.Context, s Subject) error {
	c := s.New()
	if c.Complete() {
		return errors.New("it says that it is complete")
	}
	deleted, err := c.Delete(ctx)
	return errors.Join(wantState(ctx, c, "absent"), want("Delete", deleted, false, err))
}

func made(ctx context.Context, s Subject) error {
	c := s.New()
	changed, err := c.Boot(ctx)
	if err := want("Boot", changed, true, err); err != nil {
		return err
	}
	kubeconfig, err := c.WaitForAPIServer(ctx)
	if err != nil {
		return err
	}
	if _, err := c.Finish(ctx); err != nil {
		return err
	}
	if !c.Complete() {
		return errors.New("it is not complete when it is finished")
	}
	if err := s.Keep(ctx, kubeconfig); err != nil {
		return fmt.Errorf("its kubeconfig does not open it: %w", err)
	}
	return wantState(ctx, c, "running")
}

func foundAgain(ctx context.Context, s Subject) error {
	c := s.New()
	if !c.Complete() {
		return errors.New("it is not complete")
	}
	if err := wantState(ctx, c, "running"); err != nil {
		return err
	}
	changed, err := c.Boot(ctx)
	if err := want("Boot", changed, false, err); err != nil {
		return err
	}
	changed, err = c.Finish(ctx)
	if err := want("Finish", changed, false, err); err != nil {
		return err
	}
	removed, err := c.Abandon(ctx, false)
	if err := want("Abandon with nothing under way", removed, false, err); err != nil {
		return err
	}
	return wantState(ctx, c, "running")
}

func logs(ctx context.Context, s Subject) error {
	c := s.New()
	log, err := c.APIServerLog(ctx)
	if err != nil {
		return err
	}
	if err := stamped(log); err != nil {
		return err
	}
	if err := c.CollectLogs(s.Folder); err != nil {
		return err
	}
	if err := logsIn(s.Folder); err != nil {
		return err
	}
	return os.RemoveAll(s.Folder)
}

// stamped wants a time in front of a log's first line.
func stamped(log string) error {
	line, _, _ := strings.Cut(log, "\n")
	stamp, _, _ := strings.Cut(line, " ")
	if _, err := time.Parse(time.RFC3339Nano, stamp); err != nil {
		return fmt.Errorf("a line of the API server's log has no time in front: %q", line)
	}
	return nil
}

func logsIn(folder string) error {
	if files, err := filepath.Glob(filepath.Join(folder, "*")); err != nil || len(files) == 0 {
		return errors.Join(errors.New("CollectLogs wrote nothing"), err)
	}
	return nil
}

func revived(ctx context.Context, s Subject) error {
	if err := s.Kill(); err != nil {
		return err
	}
	c := s.New()
	if err := wantState(ctx, c, "stopped"); err != nil {
		return err
	}
	changed, err := c.Boot(ctx)
	if err := want("Boot", changed, true, err); err != nil {
		return err
	}
	kubeconfig, err := c.WaitForAPIServer(ctx)
	if err != nil {
		return err
	}
	if _, err := c.Finish(ctx); err != nil {
		return err
	}
	if err := s.Kept(ctx, kubeconfig); err != nil {
		return fmt.Errorf("what was stored is gone: %w", err)
	}
	return wantState(ctx, c, "running")
}

func deleted(ctx context.Context, s Subject) error {
	c := s.New()
	changed, err := c.Delete(ctx)
	if err := want("Delete", changed, true, err); err != nil {
		return err
	}
	return absent(ctx, s)
}

func abandoned(ctx context.Context, s Subject) error {
	c := s.New()
	changed, err := c.Boot(ctx)
	if err := want("Boot", changed, true, err); err != nil {
		return err
	}
	if err := wantState(ctx, s.New(), "incomplete"); err != nil {
		return err
	}
	removed, err := c.Abandon(ctx, false)
	if err := want("Abandon", removed, true, err); err != nil {
		return err
	}
	return absent(ctx, s)
}

func want(what string, got, want bool, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if got != want {
		return fmt.Errorf("%s answers %v, not %v", what, got, want)
	}
	return nil
}

func wantState(ctx context.Context, c Cluster, want string) error {
	state, err := c.State(ctx)
	if err == nil && state != want {
		err = fmt.Errorf("its state is %s, not %s", state, want)
	}
	return err
}

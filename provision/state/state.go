// Package state is devenv's folder: files and a lock for each environment.
// Every file has mode 0600, in folders of mode 0700.
package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// Home is the folder of all environments.
type Home string

// DefaultHome is $DEVENV_HOME, else $XDG_STATE_HOME/devenv, else
// ~/.local/state/devenv.
func DefaultHome() (Home, error) {
	if h := os.Getenv("DEVENV_HOME"); h != "" {
		abs, err := filepath.Abs(h)
		return Home(abs), err
	}
	if h := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(h) {
		return Home(filepath.Join(h, "devenv")), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("could not find the home folder, set DEVENV_HOME: %w", err)
	}
	return Home(filepath.Join(home, ".local", "state", "devenv")), nil
}

// Names lists the environments that have a folder.
func (h Home) Names() ([]string, error) {
	entries, err := os.ReadDir(string(h))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("could not list environments: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Dir returns the folder of one environment, whether it exists or not.
func (h Home) Dir(name string) Dir { return Dir(filepath.Join(string(h), name)) }

// Owner is the name of the environment that path belongs to, which is what a node
// has of it (NAME/clusters/CLUSTER/node below this home) or a process (NAME/of).
// ok is false for any other path: other homes may be below this one.
func (h Home) Owner(path string) (name string, ok bool) {
	below, ok := strings.CutPrefix(path, string(h)+string(filepath.Separator))
	elements := strings.Split(below, string(filepath.Separator))
	return elements[0], ok && (len(elements) == 2 || len(elements) == 4 && elements[1] == "clusters")
}

// lockPath is beside the folder and not in it, so that deleting the folder
// does not free a lock that somebody holds.
func (h Home) lockPath(name string) string { return filepath.Join(string(h), "."+name+".lock") }

// BusyError says that another devenv works on the environment.
type BusyError struct{ Name string }

func (e *BusyError) Error() string {
	return fmt.Sprintf("another devenv is working on environment %q", e.Name)
}

// Lock keeps other devenv processes off an environment until unlock is called.
// It waits for a short time and then gives a *BusyError.
func (h Home) Lock(ctx context.Context, name string) (unlock func(), err error) {
	if err := os.MkdirAll(string(h), 0o700); err != nil {
		return nil, fmt.Errorf("could not make the state folder: %w", err)
	}
	path := h.lockPath(name)
	wait, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var lock *flock.Flock
	for held := false; !held; {
		lock = flock.New(path, flock.SetPermissions(0o600))
		ok, err := lock.TryLockContext(wait, 100*time.Millisecond)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(err, context.DeadlineExceeded) || (err == nil && !ok) {
			return nil, &BusyError{Name: name}
		}
		if err != nil {
			return nil, fmt.Errorf("could not lock environment %q: %w", name, err)
		}
		// whoever held it before may have removed the file: then this is a
		// lock on nothing
		if held = stillThere(lock, path); !held {
			_ = lock.Unlock()
		}
	}
	return func() {
		if _, err := os.Stat(string(h.Dir(name))); errors.Is(err, fs.ErrNotExist) {
			_ = os.Remove(path) // still held, so nobody else has it
		}
		_ = lock.Unlock()
	}, nil
}

func stillThere(lock *flock.Flock, path string) bool {
	locked, err := lock.Stat()
	if err != nil {
		return false
	}
	now, err := os.Stat(path)
	return err == nil && os.SameFile(locked, now)
}

// Dir is the folder of one environment.
type Dir string

// Path joins elements below the folder.
func (d Dir) Path(elements ...string) string {
	return filepath.Join(append([]string{string(d)}, elements...)...)
}

// Exists says whether the folder is there.
func (d Dir) Exists() bool {
	info, err := os.Stat(string(d))
	return err == nil && info.IsDir()
}

// Remove deletes the folder and everything in it.
func (d Dir) Remove() error {
	if err := os.RemoveAll(string(d)); err != nil {
		return fmt.Errorf("could not remove the state folder: %w", err)
	}
	return nil
}

// Read reads a file below the folder.
func (d Dir) Read(elements ...string) ([]byte, error) { return os.ReadFile(d.Path(elements...)) }

// Write replaces a file below the folder, in one step, making the folders on
// the way; changed says whether it had another content.
func (d Dir) Write(content []byte, elements ...string) (changed bool, err error) {
	path := d.Path(elements...)
	if old, err := os.ReadFile(path); err == nil && string(old) == string(content) {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return false, fmt.Errorf("could not make a state folder: %w", err)
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return false, fmt.Errorf("could not write state: %w", err)
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(content)
	if err := errors.Join(err, temporary.Close()); err != nil {
		return false, fmt.Errorf("could not write state: %w", err)
	}
	if err := os.Rename(temporary.Name(), path); err != nil {
		return false, fmt.Errorf("could not write state: %w", err)
	}
	return true, nil
}

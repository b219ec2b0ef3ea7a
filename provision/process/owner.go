package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Owner identifies a process that devenv did not start, for as long as it runs:
// a later one that gets its number is another.
type Owner struct {
	PID int `json:"pid"`
	// Started is the start in clock ticks after the boot, Boot the id of that
	// boot.
	Started uint64 `json:"started"`
	Boot    string `json:"boot"`
	// Namespace is the PID namespace that the number is of (pid_namespaces(7)).
	Namespace string `json:"namespace"`
}

// Identify finds the process that has a number now. The error is ErrUnsupported,
// or says that there is none.
func Identify(pid int) (Owner, error) {
	if err := Supported(); err != nil {
		return Owner{}, err
	}
	stat, err := readStat(pid)
	if errors.Is(err, fs.ErrNotExist) || err == nil && stat.ended {
		return Owner{}, fmt.Errorf("there is no process %d", pid)
	}
	boot, bootErr := bootID()
	namespace, linkErr := os.Readlink("/proc/self/ns/pid")
	if err := errors.Join(err, bootErr, linkErr); err != nil {
		return Owner{}, fmt.Errorf("could not identify process %d: %w", pid, err)
	}
	return Owner{PID: pid, Started: stat.started, Boot: boot, Namespace: namespace}, nil
}

// Gone says that the process does not run any more. What cannot be known, as in
// a container with processes of its own, is not gone.
func (o Owner) Gone() bool {
	boot, err := bootID()
	if err != nil {
		return false
	}
	if boot != o.Boot {
		return true
	}
	if namespace, err := os.Readlink("/proc/self/ns/pid"); err != nil || namespace != o.Namespace {
		return false
	}
	stat, err := readStat(o.PID)
	return errors.Is(err, fs.ErrNotExist) || err == nil && (stat.started != o.Started || stat.ended)
}

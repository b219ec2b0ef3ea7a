package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The kernel's limit of inotify instances of one user. A node needs some thirty
// of root's, and a usual limit is 128: beyond that some program, often
// kube-proxy, gets none and never works
// (https://kind.sigs.k8s.io/docs/user/known-issues/#pod-errors-due-to-too-many-open-files).
const (
	inotifyLimit  = "/proc/sys/fs/inotify/max_user_instances"
	inotifyNeeded = 512
)

// raiseInotify makes room for as many nodes as the tests have at once.
func (l *lab) raiseInotify() error {
	text, err := os.ReadFile(inotifyLimit)
	if err != nil {
		return nil // no such limit here
	}
	before := strings.TrimSpace(string(text))
	if have, err := strconv.Atoi(before); err != nil || have >= inotifyNeeded {
		return nil
	}
	if err := os.WriteFile(inotifyLimit, []byte(strconv.Itoa(inotifyNeeded)), 0o644); err != nil {
		say("several nodes at once need more than the %s inotify instances of this machine; as root: sysctl fs.inotify.max_user_instances=%d", before, inotifyNeeded)
		return nil
	}
	say("raised fs.inotify.max_user_instances from %s to %d", before, inotifyNeeded)
	return l.remember("inotify", before)
}

// lowerInotify takes that back: the first value that was remembered.
func (l *lab) lowerInotify() error {
	note := filepath.Join(l.cache, "changed-inotify")
	text, err := os.ReadFile(note)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	before, _, _ := strings.Cut(string(text), "\n")
	if err := errors.Join(err, os.WriteFile(inotifyLimit, []byte(before), 0o644)); err != nil {
		return err
	}
	say("set fs.inotify.max_user_instances back to %s", before)
	return os.Remove(note)
}

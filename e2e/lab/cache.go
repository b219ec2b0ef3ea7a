package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
)

// lab knows the project's folder and the cache.
type lab struct {
	root  string // e2e/lab in the project
	cache string // for example ~/.cache/devenv/lab

	started time.Time
	built   int // artifacts made in this run
}

func newLab() (*lab, error) {
	root, err := filepath.Abs("e2e/lab")
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(root, "modules")); err != nil {
		return nil, errors.New("start the lab in the project's folder: make lab")
	}
	user, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	cache := filepath.Join(user, "devenv", "lab")
	return &lab{root: root, cache: cache, started: time.Now()}, os.MkdirAll(cache, 0o755)
}

// key is a short hash over everything an artifact is made from: files and
// folders of the lab, and words such as versions.
func (l *lab) key(paths []string, words ...string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOARCH, strings.Join(words, "\x00"))
	for _, p := range paths {
		err := filepath.WalkDir(filepath.Join(l.root, p), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			fmt.Fprintf(h, "%s %d\n", strings.TrimPrefix(path, l.root), len(text))
			h.Write(text)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}

// artifact returns the path of a file or folder of the cache, making it under
// a temporary name if it is not there, so that an interrupted build leaves
// nothing that looks finished. Older artifacts of the same name are removed.
func (l *lab) artifact(name, key, suffix string, build func(path string) error) (string, error) {
	path := filepath.Join(l.cache, name+"-"+key+suffix)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	started := time.Now()
	say("making %s", name)
	stop := stillMaking(name, started)
	defer stop()
	unfinished := path + ".unfinished"
	if err := os.RemoveAll(unfinished); err != nil {
		return "", err
	}
	if err := build(unfinished); err != nil {
		return "", fmt.Errorf("could not make %s: %w", name, err)
	}
	old, err := filepath.Glob(filepath.Join(l.cache, name+"-????????????"+suffix))
	if err != nil {
		return "", err
	}
	for _, o := range old {
		if err := os.RemoveAll(o); err != nil {
			return "", err
		}
	}
	l.built++
	say("made %s in %s", name, time.Since(started).Round(time.Second))
	return path, os.Rename(unfinished, path)
}

// stillMaking says every half minute that something goes on: Kubernetes takes
// ten minutes to compile.
func stillMaking(name string, since time.Time) (stop func()) {
	done := make(chan struct{})
	go func() {
		ticker := time.NewTicker(30 * time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				so, _ := soFar.Load().(string)
				say("still making %s, %s so far%s", name, time.Since(since).Round(time.Second), so)
			}
		}
	}()
	return func() { close(done) }
}

// soFar is how far the command is that countLines runs, such as ", 300 packages".
var soFar atomic.Value

// countLines runs a program and counts what it says as its progress; an error
// has the end of it.
func countLines(c *exec.Cmd, of string) error {
	var said bytes.Buffer
	lines := 0
	defer soFar.Store("")
	c.Stderr = writerFunc(func(p []byte) (int, error) {
		lines += bytes.Count(p, []byte("\n"))
		soFar.Store(fmt.Sprintf(", %d %s", lines, of))
		return said.Write(p)
	})
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(c.Args[:min(len(c.Args), 4)], " "), err, tail(said.String(), 20))
	}
	return nil
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// command runs a program and returns its stdout; an error has its stderr.
func command(ctx context.Context, name string, args ...string) ([]byte, error) {
	return finish(exec.CommandContext(ctx, name, args...))
}

func finish(c *exec.Cmd) ([]byte, error) {
	var out, errOut bytes.Buffer
	c.Stdout, c.Stderr = &out, &errOut
	if err := c.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("%s: %w\n%s", strings.Join(c.Args[:min(len(c.Args), 4)], " "), err, tail(errOut.String(), 20))
	}
	return out.Bytes(), nil
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

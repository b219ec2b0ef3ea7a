// Command lab makes a real cluster possible on a machine where no registry
// answers: a container engine that can run privileged containers, and every
// image built from source. Where registries answer and privileged containers
// start it does nothing. README.md in the folder above says why it is as it is.
//
//	lab            make everything; the last line on stdout is the sources file
//	lab auto       the same where an engine answers; else only the programs
//	               that devenv runs as plain processes
//	lab browser    a Chromium and certutil, which one test logs in with
//	lab undo       take back what was changed on this machine
//	lab save FILE  write the cache as one compressed file
//	lab load FILE  read such a file
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		var hinted *hintedError
		if errors.As(err, &hinted) {
			fmt.Fprintf(os.Stderr, "hint: %s\n", hinted.hint)
		}
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	l, err := newLab()
	if err != nil {
		return err
	}
	switch {
	case len(args) == 0:
		return l.up(ctx)
	case args[0] == "auto" && len(args) == 1:
		return l.auto(ctx)
	case args[0] == "browser" && len(args) == 1:
		return l.install(ctx, "chromium", "libnss3-tools")
	case args[0] == "undo" && len(args) == 1:
		return l.undo(ctx)
	case args[0] == "save" && len(args) == 2:
		return l.save(ctx, args[1])
	case args[0] == "load" && len(args) == 2:
		return l.load(ctx, args[1])
	}
	return errors.New("usage: lab [auto | browser | undo | save FILE | load FILE]")
}

// up makes the sources file, or finds that none is needed.
func (l *lab) up(ctx context.Context) error {
	online := registriesAnswer(ctx)
	if _, err := exec.LookPath("docker"); online && err != nil {
		say("the registries answer, and there is no docker to look after: nothing to do")
		fmt.Println()
		return nil
	}
	if online && privilegedContainersStart(ctx, officialProbe) {
		say("the registries answer and privileged containers start: nothing to do")
		fmt.Println()
		return nil
	}
	if err := l.engine(ctx); err != nil {
		return err
	}
	if online {
		fmt.Println()
		return nil
	}
	return l.print(l.sources(ctx))
}

// auto makes what `devenv up` will use by itself. It starts no engine, and where
// none answers it installs nothing.
func (l *lab) auto(ctx context.Context) error {
	if _, err := command(ctx, "docker", "info"); err == nil {
		return l.up(ctx)
	}
	if registriesAnswer(ctx) {
		fmt.Println() // devenv takes the programs out of the images
		return nil
	}
	if l.complete(ctx) {
		fmt.Println(l.sourcesFile())
		return nil
	}
	return l.print(l.programs(ctx))
}

// complete says whether an earlier run with an engine made everything.
func (l *lab) complete(ctx context.Context) bool {
	names, err := l.names(ctx)
	for _, name := range append(names, filepath.Base(l.sourcesFile())) {
		if _, statErr := os.Stat(filepath.Join(l.cache, name)); err != nil || statErr != nil {
			return false
		}
	}
	return true
}

func (l *lab) print(sources string, built int, err error) error {
	if err != nil {
		return err
	}
	if built > 0 {
		say("made %d artifacts in %s", built, time.Since(l.started).Round(time.Second))
	}
	fmt.Println(sources)
	return nil
}

// say tells what happens, on stderr: stdout is for the sources file's path.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "lab: "+format+"\n", args...)
}

type hintedError struct {
	err  error
	hint string
}

func (e *hintedError) Error() string { return e.err.Error() }

// Package failure types errors once, so that one place can map them to exit
// codes and print their hints.
package failure

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Class is a kind of failure; its value is devenv's exit code.
type Class int

// The classes, stable for scripts and listed in cmd/README.md.
const (
	Unexpected   Class = 1   // a defect, or something nobody foresaw
	Usage        Class = 2   // the command line, the profile or a name is wrong
	Prerequisite Class = 3   // something that devenv needs is missing on this machine
	Provisioning Class = 4   // a step failed or timed out
	Rejected     Class = 5   // a proof failed, or the issuer rejected a login
	Interrupted  Class = 130 // SIGINT, SIGTERM or SIGHUP
)

// Error is an error with a class and with hints for whoever reads it.
type Error struct {
	Class Class
	Err   error
	// Hints are sentences or commands to type next.
	Hints []string
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error itself.
func (e *Error) Unwrap() error { return e.Err }

// New gives err a class and hints.
func New(class Class, err error, hints ...string) error {
	return &Error{Class: class, Err: err, Hints: hints}
}

// Newf is New with a formatted error.
func Newf(class Class, format string, args ...any) *Error {
	return &Error{Class: class, Err: fmt.Errorf(format, args...)}
}

// Hint returns the error with one more hint.
func (e *Error) Hint(format string, args ...any) *Error {
	e.Hints = append(e.Hints, fmt.Sprintf(format, args...))
	return e
}

// Word is text as a shell takes it for one word, for commands in hints.
func Word(text string) string {
	if !strings.ContainsAny(text, " \t\n'\"$&|;<>()[]{}*?!#~`\\") {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// ClassOf returns the class of the outermost typed error in err's tree;
// a cancelled context is Interrupted, anything else Unexpected.
func ClassOf(err error) Class {
	var typed *Error
	switch {
	case errors.As(err, &typed):
		return typed.Class
	case errors.Is(err, context.Canceled):
		return Interrupted
	}
	return Unexpected
}

// HintsOf collects the hints along err's chain, outermost first.
func HintsOf(err error) []string {
	var hints []string
	for err != nil {
		var typed *Error
		if !errors.As(err, &typed) {
			break
		}
		hints = append(hints, typed.Hints...)
		err = typed.Err
	}
	return hints
}

// UnsuitableError says that this machine cannot run an environment in this way,
// though another runtime may.
type UnsuitableError struct{ Err error }

func (e *UnsuitableError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *UnsuitableError) Unwrap() error { return e.Err }

// PortTakenError says that another program listens on a port of the loopback.
type PortTakenError struct{ Port int }

func (e *PortTakenError) Error() string {
	return fmt.Sprintf("port %d on 127.0.0.1 is taken", e.Port)
}

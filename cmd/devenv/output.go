package main

import (
	"encoding/json"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"

	"github.com/devenv-oidc/devenv/provision/progress"
)

func printJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// printJSONLine prints a value on one line, as one of a stream.
func printJSONLine(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// ErrorResult is the last line of `--output json` of a command that failed
// before it had a result.
type ErrorResult struct {
	Error ErrorDescription `json:"error"`
}

// ErrorDescription is an error for programs.
type ErrorDescription struct {
	Message string `json:"message"`
	// ExitStatus is that of the command, which says what kind of error it is.
	ExitStatus int      `json:"exitStatus"`
	Hints      []string `json:"hints"`
}

// outputs is what a command prints to, and whether it has printed there.
type outputs struct {
	io.Writer
	used bool
}

// Write implements io.Writer.
func (o *outputs) Write(p []byte) (int, error) {
	o.used = o.used || len(p) > 0
	return o.Writer.Write(p)
}

// wantsJSON says whether a command line asks for JSON; it may be wrong in
// anything else.
func wantsJSON(args []string) bool {
	for i, arg := range args {
		name, value, joined := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if !strings.HasPrefix(arg, "-") || name != "output" && name != "o" {
			continue
		}
		if !joined && i+1 < len(args) {
			value = args[i+1]
		}
		if value == "json" {
			return true
		}
	}
	return false
}

func table(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 4, 2, ' ', 0) }

// narrate shows progress: live on a terminal, lines elsewhere. Call done before
// printing anything else.
func narrate(w io.Writer) (sink progress.Sink, done func()) {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		columns, _, err := term.GetSize(int(f.Fd()))
		if err != nil {
			columns = 80
		}
		live := progress.NewTerminal(w, columns)
		return live, live.Close
	}
	return progress.Plain(w), func() {}
}

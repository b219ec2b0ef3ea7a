package main

import (
	"encoding/json"
	"io"
	"os"
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

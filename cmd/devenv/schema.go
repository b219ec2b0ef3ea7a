package main

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/failure"
)

// schemas are JSON schemas of what --output json prints; a test makes them from
// the Go types.
//
//go:embed schemas/*.json
var schemas embed.FS

// schemaNames are the commands that have results.
func schemaNames() []string {
	files, _ := fs.Glob(schemas, "schemas/*.json")
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(strings.TrimPrefix(f, "schemas/"), ".json"))
	}
	return slices.Sorted(slices.Values(names))
}

func schemaCommand() *cli.Command {
	return &cli.Command{
		Name:        "schema",
		Usage:       "print the JSON schema of a command's --output json",
		ArgsUsage:   "[COMMAND]",
		Description: "Without a command it lists those that have one. up prints one JSON object a line: each is\nan event, and the last one the status or the error. Fields are added, never renamed.",
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				fmt.Fprintln(c.App.Writer, strings.Join(schemaNames(), "\n"))
				return nil
			}
			text, err := schemas.ReadFile("schemas/" + c.Args().First() + ".json")
			if c.NArg() > 1 || err != nil {
				err := failure.Newf(failure.Usage, "there is no schema of %q", strings.Join(c.Args().Slice(), " "))
				if near := profiles.Nearest(c.Args().First(), schemaNames()); near != "" {
					return err.Hint("did you mean %q?", near)
				}
				return err.Hint("there are: %s", strings.Join(schemaNames(), ", "))
			}
			_, err = c.App.Writer.Write(text)
			return err
		},
	}
}

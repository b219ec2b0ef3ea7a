package main

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

// manCommand is for packagers: `make release` puts its output into archives.
func manCommand() *cli.Command {
	return &cli.Command{
		Name: "man", Hidden: true,
		Usage: "print the manual page, for man",
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			page, err := c.App.ToManWithSection(1)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(c.App.Writer, page)
			return err
		},
	}
}

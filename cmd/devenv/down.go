package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/devenv-oidc/devenv/provision"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/state"
)

func downCommand() *cli.Command {
	return &cli.Command{
		Name:  "down",
		Usage: "delete an environment without a trace",
		Flags: []cli.Flag{nameFlag(), &cli.BoolFlag{Name: "all", Usage: "every environment"}},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			home, err := state.DefaultHome()
			if err != nil {
				return err
			}
			names := []string{c.String("name")}
			var failed error
			if c.Bool("all") {
				if c.IsSet("name") && os.Getenv("DEVENV_NAME") == "" {
					return failure.Newf(failure.Usage, "--all and --name exclude each other")
				}
				names, failed = provision.Names(c.Context, home)
			}
			for _, name := range names { // one that fails does not save the others
				changed, err := provision.Down(c.Context, home, name)
				if err != nil {
					failed = errors.Join(failed, err)
					continue
				}
				said := "there was nothing to delete"
				if changed {
					said = "deleted"
				}
				fmt.Fprintf(c.App.ErrWriter, "environment %s: %s\n", name, said)
			}
			return failed
		},
	}
}

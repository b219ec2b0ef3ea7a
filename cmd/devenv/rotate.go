package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/devenv-oidc/devenv/provision"
	"github.com/devenv-oidc/devenv/provision/state"
)

func rotateCommand() *cli.Command {
	return &cli.Command{
		Name:      "rotate",
		Usage:     "issue new tokens for the kubeconfigs between clusters",
		ArgsUsage: "[CONNECTION...]",
		Flags:     []cli.Flag{nameFlag()},
		Action: func(c *cli.Context) error {
			home, err := state.DefaultHome()
			if err != nil {
				return err
			}
			rotated, err := provision.Rotate(c.Context, home, c.String("name"), c.Args().Slice()...)
			for _, name := range rotated {
				fmt.Fprintf(c.App.ErrWriter, "connection %s has a new token\n", name)
			}
			if err == nil && len(rotated) == 0 {
				fmt.Fprintln(c.App.ErrWriter, "the environment has no connections")
			}
			return err
		},
	}
}

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
		Usage:     "rotate Dex's signing key or certificate, or the tokens in the kubeconfigs between clusters",
		ArgsUsage: "keys | certificates | [CONNECTION...]",
		Description: "`devenv rotate keys` makes Dex sign with a new key, and proves that clusters accept new tokens\n" +
			"and those of the earlier key. `devenv rotate certificates` renews the one that Dex serves, and proves\n" +
			"that the CA verifies it and that logins go on. Everything else names connections; all of them if\n" +
			"none is named.",
		Flags: []cli.Flag{nameFlag()},
		Action: func(c *cli.Context) error {
			home, err := state.DefaultHome()
			if err != nil {
				return err
			}
			say := func(format string, args ...any) { fmt.Fprintf(c.App.ErrWriter, format+"\n", args...) }
			switch what := c.Args().First(); {
			case c.NArg() == 1 && what == "keys":
				return provision.RotateKeys(c.Context, home, c.String("name"), say)
			case c.NArg() == 1 && what == "certificates":
				return provision.RotateCertificates(c.Context, home, c.String("name"), say)
			}
			return rotateConnections(c, home)
		},
	}
}

func rotateConnections(c *cli.Context, home state.Home) error {
	rotated, err := provision.Rotate(c.Context, home, c.String("name"), c.Args().Slice()...)
	for _, name := range rotated {
		fmt.Fprintf(c.App.ErrWriter, "connection %s has a new token\n", name)
	}
	if err == nil && len(rotated) == 0 {
		fmt.Fprintln(c.App.ErrWriter, "the environment has no connections")
	}
	return err
}

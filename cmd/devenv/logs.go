package main

import (
	"fmt"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/devenv-oidc/devenv/provision/failure"
)

func logsCommand() *cli.Command {
	return &cli.Command{
		Name:      "logs",
		Usage:     "write the logs of everything in an environment to a folder",
		ArgsUsage: "[DIR]",
		Flags:     []cli.Flag{nameFlag()},
		Action:    logs,
	}
}

func logs(c *cli.Context) error {
	folder := c.Args().First()
	switch c.NArg() {
	case 0:
		folder = "devenv-logs-" + c.String("name")
	case 1:
	default:
		return failure.Newf(failure.Usage, "%s takes one folder", c.Command.HelpName)
	}
	e, err := openNamed(c)
	if err != nil {
		return err
	}
	folder, err = filepath.Abs(folder)
	if err != nil {
		return err
	}
	if err := e.CollectLogs(c.Context, folder); err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.App.Writer, folder)
	return err
}

package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/devenv-oidc/devenv/provision"
)

func shareCommand() *cli.Command {
	return &cli.Command{
		Name:  "share",
		Usage: "serve kubeconfigs to whoever logs in, at a link, until it is interrupted",
		Flags: []cli.Flag{
			nameFlag(),
			&cli.StringFlag{Name: "cluster", Usage: "`CLUSTER` that the link is for; the first that can be shared if not given"},
		},
		Action: func(c *cli.Context) error {
			e, err := open(c)
			if err != nil {
				return err
			}
			return e.Share(c.Context, provision.ShareRequest{
				Cluster: c.String("cluster"),
				Ready: func(link string) {
					fmt.Fprintln(c.App.Writer, link)
					fmt.Fprintln(c.App.ErrWriter, "whoever opens this link and logs in gets a kubeconfig; end it with Ctrl-C")
				},
				Failed: func(err error) { printError(c.App.ErrWriter, err) },
			})
		},
	}
}

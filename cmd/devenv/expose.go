package main

import (
	"fmt"
	"net/url"

	"github.com/urfave/cli/v2"

	"github.com/devenv-oidc/devenv/provision"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/state"
)

func exposeCommand() *cli.Command {
	return &cli.Command{
		Name:      "expose",
		Usage:     "give a Service an https URL that the host, pods and other clusters reach alike",
		ArgsUsage: "SERVICE",
		Description: "The Service speaks plain http; a proxy before it has a certificate of the environment's CA.\n" +
			"The URL stays through every up, until it is removed: devenv expose --remove NAME.",
		Flags: []cli.Flag{
			nameFlag(),
			&cli.StringFlag{Name: "namespace", Usage: "`NAMESPACE` of the Service", Value: "default"},
			&cli.StringFlag{Name: "cluster", Usage: "`CLUSTER` that it is in; the first if not given"},
			&cli.StringFlag{Name: "port", Usage: "`PORT` of the Service, by number or name; its only one if not given"},
			&cli.StringFlag{Name: "as", Usage: "first part of the host `NAME`; the Service's name if not given"},
			&cli.BoolFlag{Name: "remove", Usage: "take back what was exposed by this name"},
			outputFlag("text", "json"),
		},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return failure.Newf(failure.Usage, "devenv expose takes one Service, and got %d arguments", c.NArg()).
					Hint("for example: devenv expose web --namespace demo")
			}
			home, err := state.DefaultHome()
			if err != nil {
				return err
			}
			name := c.String("name")
			if c.Bool("remove") {
				return provision.Conceal(c.Context, home, name, c.Args().First())
			}
			endpoint, changed, err := provision.Expose(c.Context, home, name, provision.ExposeRequest{
				Service: c.Args().First(), Namespace: c.String("namespace"), Cluster: c.String("cluster"), Port: c.String("port"), As: c.String("as"),
			})
			if err != nil {
				return err
			}
			if c.String("output") == "json" {
				return printJSON(c.App.Writer, endpoint)
			}
			if !changed {
				fmt.Fprintln(c.App.ErrWriter, " · exposed already")
			}
			fmt.Fprintln(c.App.Writer, endpoint.URL)
			at, err := url.Parse(endpoint.URL)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.App.ErrWriter, "its CA                      %s\nwhere it does not resolve   curl --cacert %s --resolve %s:127.0.0.1 %s\n",
				endpoint.CAFile, failure.Word(endpoint.CAFile), at.Host, endpoint.URL)
			return nil
		},
	}
}

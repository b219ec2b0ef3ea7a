package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/devenv-oidc/devenv/provision"
	"github.com/devenv-oidc/devenv/provision/failure"
)

func loadCommand() *cli.Command {
	return &cli.Command{
		Name:      "load",
		Usage:     "put images of this machine into nodes, where pods can run them",
		ArgsUsage: "IMAGE|ARCHIVE…",
		Description: "IMAGE is one that the container engine has; ARCHIVE is what docker save wrote, or an OCI\n" +
			"layout as a folder or tar file. What is there already is left alone, what was built anew\n" +
			"replaces it. Give the pods imagePullPolicy Never or IfNotPresent.",
		Flags: []cli.Flag{
			nameFlag(),
			&cli.StringFlag{Name: "cluster", Usage: "`CLUSTER` of the environment; all if not given"},
			outputFlag("text", "json"),
		},
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				return failure.Newf(failure.Usage, "no image is named").Hint("for example: devenv load app:dev")
			}
			e, err := openNamed(c)
			if err != nil {
				return err
			}
			asJSON := c.String("output") == "json"
			list := []provision.Loaded{}
			err = e.Load(c.Context, provision.LoadRequest{Images: c.Args().Slice(), Cluster: c.String("cluster"), Did: func(l provision.Loaded) {
				list = append(list, l)
				if !asJSON {
					did := "· there already"
					if l.Changed {
						did = "✓ loaded"
					}
					fmt.Fprintf(c.App.ErrWriter, " %s: %s in %s\n", did, l.Image, l.Cluster)
				}
			}})
			if asJSON && (err == nil || len(list) > 0) {
				if err := printJSON(c.App.Writer, list); err != nil {
					return err
				}
			}
			return err
		},
	}
}

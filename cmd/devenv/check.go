package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/devenv-oidc/devenv/provision"
	"github.com/devenv-oidc/devenv/provision/check"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:  "check",
		Usage: "prove an environment: identities, permissions and rejections",
		Flags: []cli.Flag{
			nameFlag(),
			&cli.StringFlag{Name: "against", Usage: "compare with the results in a `REPORT`; exit status 5 where one differs, 0 where all came out alike"},
			&cli.BoolFlag{Name: "all-users", Usage: "log in every user, and not one of each class that API servers cannot tell apart"},
			outputFlag("text", "json", "junit"),
		},
		Action: func(c *cli.Context) error {
			e, err := open(c)
			if err != nil {
				return err
			}
			theirs, err := reported(c)
			if err != nil {
				return err
			}
			report, err := e.Check(c.Context, provision.CheckOptions{AllUsers: c.Bool("all-users")})
			if err != nil {
				return err
			}
			if theirs != nil {
				return against(c, report, theirs)
			}
			if err := printReport(c.App.Writer, report, c.String("output")); err != nil {
				return err
			}
			return e.CheckFailure(report)
		},
	}
}

func printReport(w io.Writer, report *check.Report, form string) error {
	switch form {
	case "json":
		return printJSON(w, report)
	case "junit":
		return proofsJUnit(report).write(w)
	}
	group := ""
	for _, r := range report.Results {
		if r.Group != group {
			group = r.Group
			fmt.Fprintf(w, "%s\n", group)
		}
		mark := "✓"
		if !r.OK {
			mark = "✗"
		}
		fmt.Fprintf(w, "  %s %s", mark, r.Name)
		if r.Detail != "" {
			fmt.Fprintf(w, "  (%s)", r.Detail)
		}
		fmt.Fprintln(w)
	}
	_, err := fmt.Fprintf(w, "%d proofs, %d failed\n", len(report.Results), len(report.Failed()))
	return err
}

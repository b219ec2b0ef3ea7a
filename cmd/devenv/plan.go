package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/devenv-oidc/devenv/provision"
)

// PlannedStep is one step of `up`.
type PlannedStep struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	// Needs are the ids of the steps that come before it.
	Needs []string `json:"needs"`
}

func planCommand() *cli.Command {
	return &cli.Command{
		Name:  "plan",
		Usage: "print the steps of up, and what they would change in an environment that exists; it changes nothing",
		Flags: append([]cli.Flag{nameFlag(), outputFlag("text", "json")}, profileFlags()...),
		Action: func(c *cli.Context) error {
			request, err := upRequest(c)
			if err != nil {
				return err
			}
			steps, err := provision.Plan(c.Context, request)
			if err != nil {
				return err
			}
			if c.String("output") == "json" {
				list := []PlannedStep{}
				for _, s := range steps {
					list = append(list, PlannedStep{s.ID, s.Title, append([]string{}, s.Needs...)})
				}
				return printJSON(c.App.Writer, list)
			}
			t := table(c.App.Writer)
			fmt.Fprintln(t, "STEP\tWHAT\tAFTER")
			for _, s := range steps {
				fmt.Fprintf(t, "%s\t%s\t%s\n", s.ID, s.Title, strings.Join(s.Needs, ", "))
			}
			if err := t.Flush(); err != nil {
				return err
			}
			if err := printDrift(c, request); err != nil {
				return err
			}
			filled := request.Profile.Filled()
			if len(filled) == 0 {
				return nil
			}
			t = table(c.App.Writer)
			fmt.Fprintln(t, "\nPLACEHOLDER\tVALUE")
			for _, p := range filled {
				fmt.Fprintf(t, "${%s}\t%s\n", p.Name, p.Is)
			}
			return t.Flush()
		},
	}
}

// printDrift prints how an environment that exists differs from the request.
func printDrift(c *cli.Context, request provision.UpRequest) error {
	if !request.Home.Dir(request.Name).Exists() {
		return nil
	}
	found, err := provision.Drift(c.Context, request)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		_, err := fmt.Fprintf(c.App.Writer, "\nenvironment %s is as the profile wants it\n", request.Name)
		return err
	}
	t := table(c.App.Writer)
	fmt.Fprintf(t, "\nDIFFERENCE IN %s\tFIELD\tHAVE\tWANT\n", request.Name)
	for _, d := range found {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", d.Object, d.Field, d.Have, d.Want)
	}
	return t.Flush()
}

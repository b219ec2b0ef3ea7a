package main

import (
	"cmp"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/check"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/report"
)

func reportCommand() *cli.Command {
	return &cli.Command{
		Name:      "report",
		Usage:     "write all that is known of an environment, without secrets, to a zip for somebody else",
		ArgsUsage: "[FILE]",
		Description: "Open report.html in it first. `devenv up --from FILE` rebuilds the environment,\n" +
			"`devenv check --against FILE` compares the results. It works on a broken environment, too.",
		Flags: []cli.Flag{nameFlag()},
		Action: func(c *cli.Context) error {
			if c.NArg() > 1 {
				return failure.Newf(failure.Usage, "%s takes one file, and got %d", c.Command.HelpName, c.NArg())
			}
			e, err := openNamed(c)
			if err != nil {
				return err
			}
			file := c.Args().First()
			if file == "" {
				file = fmt.Sprintf("devenv-report-%s-%s.zip", c.String("name"), time.Now().UTC().Format("20060102-150405"))
			}
			if err := e.Report(c.Context, buildVersion(), file); err != nil {
				return err
			}
			fmt.Fprintln(c.App.Writer, file)
			fmt.Fprintln(c.App.ErrWriter, "secrets are replaced by placeholders; open report.html in it first")
			return nil
		},
	}
}

// fromReport is the profile of a reported environment, and where it ran; what
// cannot be the same is said on stderr.
func fromReport(c *cli.Context, file string) (profile *profiles.Environment, runtime string, err error) {
	for _, flag := range []string{"profile", "file", "set"} {
		if c.IsSet(flag) {
			return nil, "", failure.Newf(failure.Usage, "--from and --%s exclude each other: the profile is in the report", flag)
		}
	}
	r, err := report.Read(file)
	if err != nil {
		return nil, "", err
	}
	if x := r.Profile.Spec.Issuer; x != nil { // nor are commands of somebody else's run here
		return nil, "", failure.Newf(failure.Usage, "the issuer %s of the reported environment is not part of the report", x.URL).
			Hint("take profile.yaml out of the report, complete spec.issuer (users, secrets of clients), and create it from that: devenv up --file profile.yaml")
	}
	pins, err := profiles.PinnedWith(sourcesFile())
	if err != nil {
		return nil, "", failure.New(failure.Usage, err)
	}
	profile, differs := r.Rebuild(pins, buildVersion())
	if runtime = cmp.Or(c.String("runtime"), r.Runtime); runtime != r.Runtime {
		differs = append(differs, fmt.Sprintf("runtime: %s there, %s here", r.Runtime, runtime))
	}
	for _, d := range differs {
		fmt.Fprintf(c.App.ErrWriter, "not the same as in the report: %s\n", d)
	}
	return profile, runtime, nil
}

// reported is the report that --against names; nil where it names none.
func reported(c *cli.Context) (*report.Report, error) {
	file := c.String("against")
	switch {
	case file == "":
		return nil, nil
	case c.String("output") == "junit":
		return nil, failure.Newf(failure.Usage, "--against has no output junit").Hint("the forms are: text, json")
	}
	return report.Read(file)
}

// against prints how results differ from those of a report. The error is of
// class Rejected where any does.
func against(c *cli.Context, results *check.Report, theirs *report.Report) (err error) {
	list := theirs.Against(results.Results, c.String("name"))
	different := 0
	for _, x := range list {
		if !x.Same {
			different++
		}
	}
	if c.String("output") == "json" {
		err = printJSON(c.App.Writer, list)
	} else {
		err = printComparison(c.App.Writer, list, different)
	}
	if err != nil || different == 0 {
		return err
	}
	return failure.Newf(failure.Rejected, "%d of %d proofs came out otherwise than in %s", different, len(list), c.String("against"))
}

func printComparison(w io.Writer, list []report.Comparison, different int) error {
	for _, x := range list {
		switch {
		case !x.Same:
			fmt.Fprintf(w, "≠ %s: %s\n    there  %s\n    here   %s\n", x.Group, x.Name, x.There, x.Here)
		case x.Here != "ok":
			fmt.Fprintf(w, "= %s: %s\n    both   %s\n", x.Group, x.Name, x.Here)
		}
	}
	_, err := fmt.Fprintf(w, "%d proofs, %d came out otherwise than in the report\n", len(list), different)
	return err
}

package main

import (
	"encoding/xml"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/devenv-oidc/devenv/provision/check"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:  "check",
		Usage: "prove an environment: identities, permissions and rejections",
		Flags: []cli.Flag{
			nameFlag(),
			&cli.StringFlag{Name: "against", Usage: "compare with the results in a `REPORT`; exit status 5 where one differs, 0 where all came out alike"},
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
			report, err := e.Check(c.Context)
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
		return printJUnit(w, report)
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

// printJUnit writes what CI systems read, in the form they agree on:
// https://github.com/testmoapp/junitxml
func printJUnit(w io.Writer, report *check.Report) error {
	type failureText struct {
		Message string `xml:"message,attr"`
	}
	type testCase struct {
		Class   string       `xml:"classname,attr"`
		Name    string       `xml:"name,attr"`
		Failure *failureText `xml:"failure,omitempty"`
	}
	suite := struct {
		XMLName  xml.Name   `xml:"testsuite"`
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Cases    []testCase `xml:"testcase"`
	}{Name: "devenv check", Tests: len(report.Results), Failures: len(report.Failed())}
	for _, r := range report.Results {
		t := testCase{Class: "devenv." + r.Group, Name: r.Name}
		if !r.OK {
			t.Failure = &failureText{Message: r.Detail}
		}
		suite.Cases = append(suite.Cases, t)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(suite); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

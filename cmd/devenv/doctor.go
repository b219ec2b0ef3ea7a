package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/devenv-oidc/devenv/provision"
	"github.com/devenv-oidc/devenv/provision/diagnosis"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/state"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "follow a login hop by hop, and name the first that fails",
		Description: "Without an environment it looks at this machine. It changes nothing.\n" +
			"Exit status 5 says that a hop fails.",
		Flags: []cli.Flag{
			nameFlag(),
			&cli.StringFlag{Name: "user", Usage: "`E-MAIL` of the user whose login is followed; the profile's first if not given"},
			&cli.StringFlag{Name: "token-file", Usage: "explain the token in a `FILE` (- for stdin) instead of a new one"},
			&cli.StringFlag{Name: "kubeconfig", Usage: "follow the login of a kubeconfig `FILE` on any cluster; devenv's own state is not asked"},
			&cli.StringFlag{Name: "context", Usage: "`CONTEXT` of that kubeconfig; the current one if not given"},
			outputFlag("text", "json", "junit"),
		},
		Action: doctor,
	}
}

func doctor(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	report, err := diagnose(c)
	if err != nil {
		return err
	}
	switch c.String("output") {
	case "json":
		err = printJSON(c.App.Writer, report)
	case "junit":
		err = hopsJUnit(report).write(c.App.Writer)
	default:
		err = printHops(c.App.Writer, report)
	}
	return errors.Join(err, report.Error())
}

// diagnose looks at the environment, or, where there is none of the default
// name, at the machine.
func diagnose(c *cli.Context) (*diagnosis.Report, error) {
	home, err := state.DefaultHome()
	if err != nil {
		return nil, err
	}
	token, err := readToken(c)
	if err != nil {
		return nil, err
	}
	if file := c.String("kubeconfig"); file != "" {
		return provision.DiagnoseKubeconfig(c.Context, provision.KubeconfigLogin{File: file, Context: c.String("context"), Token: token})
	}
	e, err := provision.Open(c.Context, home, c.String("name"))
	var left *provision.LostError
	if !c.IsSet("name") && token == "" && !home.Dir(c.String("name")).Exists() && !errors.As(err, &left) {
		return provision.DiagnoseMachine(c.Context, home, sourcesFile())
	}
	if err != nil {
		return nil, err
	}
	return e.Diagnose(c.Context, provision.LoginRequest{User: c.String("user"), Token: token}), nil
}

// tokenLimit is more than any token that an API server would read from a header.
const tokenLimit = 1 << 20

func readToken(c *cli.Context) (string, error) {
	file := c.String("token-file")
	if file == "" {
		return "", nil
	}
	in := c.App.Reader
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", failure.New(failure.Usage, fmt.Errorf("could not read the token: %w", err))
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, tokenLimit+1))
	if err != nil {
		return "", failure.New(failure.Usage, fmt.Errorf("could not read the token: %w", err))
	}
	token := strings.TrimSpace(string(text))
	switch {
	case len(text) > tokenLimit:
		return "", failure.Newf(failure.Usage, "the token is longer than a megabyte")
	case token == "":
		return "", failure.Newf(failure.Usage, "there is no token in %s", file)
	}
	return strings.TrimPrefix(token, "Bearer "), nil
}

var hopMarks = map[diagnosis.State]string{diagnosis.OK: "✓", diagnosis.Warning: "!", diagnosis.Failed: "✗", diagnosis.NotReached: "–"}

func printHops(w io.Writer, report *diagnosis.Report) error {
	for _, h := range report.Hops {
		detail := h.Detail
		if h.State == diagnosis.NotReached {
			detail = "not reached"
		}
		fmt.Fprintf(w, " %s %-17s %s\n", hopMarks[h.State], h.Name, indented(detail))
		if h.Log != "" {
			fmt.Fprintf(w, "   %-17s log: %s\n", "", indented(h.Log))
		}
		if h.Remedy != "" && h.State == diagnosis.Warning { // that of a failure is the hint
			fmt.Fprintf(w, "   %-17s → %s\n", "", h.Remedy)
		}
	}
	return nil
}

// indented puts further lines below the first.
func indented(text string) string {
	return strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n"+strings.Repeat(" ", 21))
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/progress"
	"github.com/devenv-oidc/devenv/provision/state"
)

func profileFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "profile", Usage: "shipped `PROFILE`, see devenv profiles list", Value: "default"},
		&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "profile in a `FILE` of your own"},
		&cli.StringFlag{Name: "runtime", Usage: "`RUNTIME`: auto, kind (nodes that are containers) or process (no engine, no pods); the profile's if not given", Action: oneOf("runtime", append([]string{profiles.RuntimeAuto}, provision.Runtimes()...))},
		&cli.GenericFlag{Name: "set", Usage: "change one field of the profile: `path.to.field=value`, may be repeated", Value: &assignments{}},
	}
}

// assignments are the values of --set. urfave/cli's own slice flag would split
// each at its commas.
type assignments []string

// Set adds one.
func (a *assignments) Set(value string) error {
	*a = append(*a, value)
	return nil
}

func (a *assignments) String() string { return strings.Join(*a, " ") }

func upCommand() *cli.Command {
	return &cli.Command{
		Name:  "up",
		Usage: "create an environment, or bring it back to its profile, and prove it",
		Flags: append([]cli.Flag{
			nameFlag(),
			&cli.BoolFlag{Name: "recreate", Usage: "delete the environment and create it again, its data will be lost: for what cannot be changed in place"},
			&cli.StringFlag{Name: "bundle", Usage: "make the environment of a `FILE` that devenv bundle wrote, and of nothing else"},
			&cli.StringFlag{Name: "from", Usage: "rebuild the environment of a `REPORT`, with new secrets"},
			&cli.BoolFlag{Name: "no-prune", Usage: "keep users, clients, bindings, connections, charts and objects that the profile no longer has"},
			&cli.DurationFlag{Name: "timeout", Usage: "`LIMIT` for everything together", Value: 10 * time.Minute},
			&cli.StringFlag{Name: "junit", Usage: "write the steps to a `FILE` for CI, also where one fails"},
			outputFlag("text", "json"),
		}, append(lifetimeFlags(), profileFlags()...)...),
		Action: up,
	}
}

// upRequest reads what `up` and `plan` have in common.
func upRequest(c *cli.Context) (provision.UpRequest, error) {
	if err := noArguments(c); err != nil {
		return provision.UpRequest{}, err
	}
	home, err := state.DefaultHome()
	if err != nil {
		return provision.UpRequest{}, err
	}
	request := provision.UpRequest{Home: home, Name: c.String("name"), Runtime: c.String("runtime"), Sources: sourcesFile(), Arguments: profileArguments(c)}
	if c.String("bundle") != "" {
		err := fromBundle(c, &request)
		return request, err
	}
	if from := c.String("from"); from != "" {
		request.Profile, request.Runtime, err = fromReport(c, from)
		return request, err
	}
	request.Profile, err = loadProfile(c)
	return request, err
}

// profileArguments are the flags by which the profile was named, to be typed
// again.
func profileArguments(c *cli.Context) string {
	text := ""
	switch {
	case c.String("bundle") != "":
		text = " --bundle " + failure.Word(c.String("bundle"))
	case c.String("from") != "":
		text = " --from " + failure.Word(c.String("from"))
	case c.String("file") != "":
		text = " --file " + failure.Word(c.String("file"))
	case c.String("profile") != "default":
		text = " --profile " + c.String("profile")
	}
	for _, set := range *c.Generic("set").(*assignments) {
		text += " --set " + failure.Word(set)
	}
	return text
}

func up(c *cli.Context) error {
	steps := &recorder{}
	junit, err := steps.openJUnit(c.String("junit"))
	if err != nil {
		return err
	}
	e, status, err := upWith(c, steps)
	if junit != nil {
		err = errors.Join(err, steps.writeJUnit(junit, err))
	}
	if err := summarize(steps, c.String("name"), status, err); err != nil { // the page is not what counts
		fmt.Fprintf(c.App.ErrWriter, "warning: %v\n", err)
	}
	switch {
	case err != nil:
		return err
	case c.String("output") == "json":
		return printJSONLine(c.App.Writer, status)
	}
	return printReady(c.App.Writer, e, status)
}

// upWith is `up` without what is printed at its end; steps hears of all.
func upWith(c *cli.Context, steps *recorder) (*provision.Environment, *provision.Status, error) {
	request, err := upRequest(c)
	if err != nil {
		return nil, nil, err
	}
	request.Recreate, request.NoPrune, request.Timeout = c.Bool("recreate"), c.Bool("no-prune"), c.Duration("timeout")
	if request.Plugin, err = os.Executable(); err != nil {
		return nil, nil, err
	}
	if err := setLifetime(c, &request); err != nil {
		return nil, nil, err
	}
	done := func() {}
	if c.String("output") == "json" {
		steps.Sink = progress.JSON(c.App.Writer)
	} else {
		defer foldLog(c.App.ErrWriter, "devenv up: environment "+request.Name)()
		fmt.Fprintf(c.App.ErrWriter, "environment %s, profile %s\n", request.Name, request.Profile.Metadata.Name)
		steps.Sink, done = narrate(c.App.ErrWriter)
	}
	defer func() { done() }()
	request.Progress = steps
	return upAndLook(c.Context, request)
}

func upAndLook(ctx context.Context, r provision.UpRequest) (*provision.Environment, *provision.Status, error) {
	e, err := provision.Up(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	status, err := e.Status(ctx)
	return e, status, err
}

func printReady(w io.Writer, e *provision.Environment, s *provision.Status) error {
	t := table(w)
	fmt.Fprintf(t, "\n%s is ready and proven\n", s.Name)
	fmt.Fprintf(t, "issuer\t%s\n", s.Issuer.URL)
	if s.Issuer.CAFile != "" {
		fmt.Fprintf(t, "its CA\t%s\n", s.Issuer.CAFile)
	}
	for _, u := range s.Users {
		fmt.Fprintf(t, "user\t%s\t%s\n", u.Email, strings.Join(u.Groups, ", "))
	}
	name := ""
	if s.Name != provision.DefaultName {
		name = " --name " + s.Name
	}
	fmt.Fprintf(t, "kubectl as %s\texport KUBECONFIG=%s\n", s.Users[0].Email, e.UserKubeconfigFile())
	fmt.Fprintf(t, "a token\tdevenv token%s --user %s\n", name, s.Users[0].Email)
	fmt.Fprintf(t, "delete it\tdevenv down%s\n", name)
	if s.Lifetime != nil {
		fmt.Fprintf(t, "ends by itself\t%s\n", s.Lifetime.Ends)
	}
	return t.Flush()
}

// loadProfile reads the profile that --profile or --file names.
func loadProfile(c *cli.Context) (*profiles.Environment, error) {
	if c.IsSet("file") && c.IsSet("profile") {
		return nil, failure.Newf(failure.Usage, "--file and --profile exclude each other")
	}
	set := *c.Generic("set").(*assignments)
	if file := c.String("file"); file != "" {
		profile, err := profiles.LoadFile(file, set...)
		return profile, profileError(err)
	}
	profile, err := profiles.Load(c.String("profile"), set...)
	return profile, profileError(err)
}

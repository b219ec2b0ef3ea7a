package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision"
	"github.com/devenv-oidc/devenv/provision/failure"
)

func profilesCommand() *cli.Command {
	return &cli.Command{
		Name:  "profiles",
		Usage: "the shipped set-ups, and checking one of your own",
		Subcommands: []*cli.Command{
			{Name: "list", Usage: "list the shipped profiles", Flags: []cli.Flag{outputFlag("text", "json")}, Action: listProfiles},
			{Name: "show", Usage: "print a shipped profile, to start your own from", ArgsUsage: "PROFILE", Action: showProfile},
			{Name: "validate", Usage: "find every mistake in a profile", ArgsUsage: "FILE", Action: validateProfile},
			{Name: "schema", Usage: "print the JSON schema of profiles, for editors", Action: printSchema},
		},
	}
}

// profileError gives the loader's errors their class and hints.
func profileError(err error) error {
	if err == nil {
		return nil
	}
	var unknown *profiles.UnknownProfileError
	if errors.As(err, &unknown) && unknown.Nearest != "" {
		return failure.New(failure.Usage, err, fmt.Sprintf("did you mean %q?", unknown.Nearest))
	}
	if errors.As(err, &unknown) {
		return failure.New(failure.Usage, err, "see what there is: devenv profiles list")
	}
	return failure.New(failure.Usage, err)
}

func oneArgument(c *cli.Context) (string, error) {
	if c.NArg() != 1 {
		return "", failure.Newf(failure.Usage, "%s takes one %s", c.Command.HelpName, c.Command.ArgsUsage).Hint("see: %s --help", c.Command.HelpName)
	}
	return c.Args().First(), nil
}

func listProfiles(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	var list []profiles.Metadata
	for _, name := range profiles.Names() {
		p, err := profiles.Load(name)
		if err != nil {
			return err
		}
		list = append(list, p.Metadata)
	}
	if c.String("output") == "json" {
		return printJSON(c.App.Writer, list)
	}
	t := table(c.App.Writer)
	for _, p := range list {
		fmt.Fprintf(t, "%s\t%s\n", p.Name, p.Description)
	}
	return t.Flush()
}

func showProfile(c *cli.Context) error {
	name, err := oneArgument(c)
	if err != nil {
		return err
	}
	text, err := profiles.Source(name)
	if err != nil {
		return profileError(err)
	}
	_, err = c.App.Writer.Write(text)
	return err
}

func validateProfile(c *cli.Context) error {
	file, err := oneArgument(c)
	if err != nil {
		return err
	}
	p, err := profiles.LoadFile(file)
	if err != nil {
		return profileError(err)
	}
	if err := provision.Validate(p); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s is valid: profile %s\n", file, p.Metadata.Name)
	return err
}

func printSchema(c *cli.Context) error {
	_, err := c.App.Writer.Write(profiles.Schema())
	return err
}

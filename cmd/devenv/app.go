package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/state"
)

// version is stamped by `make build`.
var version = ""

// run is the whole program except for the process around it.
//
// Results go to stdout, narration and errors to stderr; the exit code is the
// failure's class.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	printed := &outputs{Writer: stdout}
	app := newApp(printed, stderr)
	err := app.RunContext(ctx, flagsFirst(app.Commands, args))
	if err == nil {
		return 0
	}
	printError(stderr, err)
	// a stream ends with its error; a result that was printed is the result
	if wantsJSON(args) && (!printed.used || slices.Contains(args, "up")) {
		_ = printJSONLine(stdout, ErrorResult{ErrorDescription{Message: err.Error(), ExitStatus: int(failure.ClassOf(err)), Hints: append([]string{}, failure.HintsOf(err)...)}})
	}
	return int(failure.ClassOf(err))
}

func newApp(stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:                 "devenv",
		Usage:                "a Kubernetes cluster that trusts an OpenID Connect provider, with users, clients and RBAC, and the proof of it",
		Version:              buildVersion(),
		Writer:               stdout,
		ErrWriter:            stderr,
		EnableBashCompletion: true,
		HideHelpCommand:      true,
		// main alone exits: an error in the tree may have an ExitCode of its own
		ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError:   usageError,
		Commands: []*cli.Command{
			upCommand(), downCommand(), checkCommand(), statusCommand(), listCommand(), tokenCommand(),
			kubeconfigCommand(), profilesCommand(), planCommand(), doctorCommand(), reportCommand(), usersCommand(), clientsCommand(), rotateCommand(), shareCommand(), logsCommand(), loadCommand(), exposeCommand(), bundleCommand(), gcCommand(), reapCommand(), schemaCommand(), manCommand(), completionCommand(), helpCommand(),
		},
	}
	app.Action = func(c *cli.Context) error {
		if c.NArg() == 0 {
			return cli.ShowAppHelp(c)
		}
		return unknownCommand(c.Args().First(), app.Commands)
	}
	for _, command := range app.Commands {
		strict(command)
	}
	return app
}

// strict gives a command and those below it the same answers to wrong words.
func strict(command *cli.Command) {
	command.OnUsageError = usageError
	command.HideHelpCommand = true
	for _, sub := range command.Subcommands {
		strict(sub)
	}
	if len(command.Subcommands) > 0 && command.Action == nil {
		command.Action = func(c *cli.Context) error {
			if c.NArg() == 0 {
				return cli.ShowSubcommandHelp(c)
			}
			return unknownCommand(c.Args().First(), command.Subcommands)
		}
	}
}

func unknownCommand(name string, known []*cli.Command) error {
	var names []string
	for _, k := range known {
		if !k.Hidden {
			names = append(names, k.Name)
		}
	}
	err := failure.Newf(failure.Usage, "there is no command %q", name)
	if near := profiles.Nearest(name, names); near != "" {
		return err.Hint("did you mean %q?", near)
	}
	return err.Hint("the commands are: %s", strings.Join(names, ", "))
}

func usageError(c *cli.Context, err error, _ bool) error {
	name := "devenv"
	if c.Command != nil && c.Command.Name != "" && c.Command.Name != "devenv" {
		name = c.Command.HelpName
	}
	see := "see: " + name + " --help"
	if strings.HasSuffix(err.Error(), "parse error") && !strings.Contains(err.Error(), "bool") {
		return failure.New(failure.Usage, err, "a time is written as 90s, 30m or 2h, a number without anything", see)
	}
	return failure.New(failure.Usage, err, see)
}

// noArguments rejects arguments of a command that takes none.
func noArguments(c *cli.Context) error {
	if c.NArg() > 0 {
		return failure.Newf(failure.Usage, "%s takes no argument, and got %q", c.Command.HelpName, c.Args().First()).
			Hint("see: %s --help", c.Command.HelpName)
	}
	return nil
}

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func nameFlag() cli.Flag {
	return &cli.StringFlag{Name: "name", Usage: "`NAME` of the environment", Value: provision.DefaultName, EnvVars: []string{"DEVENV_NAME"}}
}

// outputFlag offers forms of a result; the first is the default.
func outputFlag(forms ...string) cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FORM` of the result: " + strings.Join(forms, ", "), Value: forms[0], Action: oneOf("output", forms)}
}

func oneOf(flag string, allowed []string) func(*cli.Context, string) error {
	return func(_ *cli.Context, value string) error {
		if slices.Contains(allowed, value) {
			return nil
		}
		return failure.Newf(failure.Usage, "--%s %q is none of %s", flag, value, strings.Join(allowed, ", "))
	}
}

// open finds the environment that a command is about.
func open(c *cli.Context) (*provision.Environment, error) {
	if err := noArguments(c); err != nil {
		return nil, err
	}
	return openNamed(c)
}

func openNamed(c *cli.Context) (*provision.Environment, error) {
	home, err := state.DefaultHome()
	if err != nil {
		return nil, err
	}
	return provision.Open(c.Context, home, c.String("name"))
}

// sourcesFile is where images and charts come from; empty for the official
// places.
func sourcesFile() string { return os.Getenv("DEVENV_SOURCES") }

// printError prints what could not be done, and then what to do about it.
func printError(w io.Writer, err error) {
	fmt.Fprintf(w, "error: %v\n", err)
	for _, hint := range failure.HintsOf(err) {
		fmt.Fprintf(w, "hint: %s\n", hint)
	}
}

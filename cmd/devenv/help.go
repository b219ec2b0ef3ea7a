package main

import (
	"slices"

	"github.com/urfave/cli/v2"
)

// helpCommand is `COMMAND --help` in other words.
func helpCommand() *cli.Command {
	return &cli.Command{
		Name:      "help",
		Usage:     "show how a command is used",
		ArgsUsage: "[COMMAND…]",
		Action: func(c *cli.Context) error {
			commands := c.App.Commands
			for _, name := range c.Args().Slice() {
				i := slices.IndexFunc(commands, func(k *cli.Command) bool { return k.HasName(name) })
				if i < 0 {
					return unknownCommand(name, commands)
				}
				commands = commands[i].Subcommands
			}
			args := append([]string{c.App.Name}, c.Args().Slice()...)
			if c.NArg() > 0 { // without a command the program shows its help by itself
				args = append(args, "--help")
			}
			return newApp(c.App.Writer, c.App.ErrWriter).RunContext(c.Context, args)
		},
	}
}

package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// flagsFirst moves what is no flag behind the flags, so that the object of a
// command can be named before them, as in `devenv users add a@b.c --group g`:
// urfave/cli reads no flag after it.
func flagsFirst(commands []*cli.Command, args []string) []string {
	at := 1
	var command *cli.Command
	for at < len(args) {
		i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(args[at]) })
		if i < 0 {
			break
		}
		command, commands, at = commands[i], commands[i].Subcommands, at+1
	}
	if command == nil || slices.Contains(args, "--") {
		return args
	}
	flags, rest := slices.Clone(args[:at]), []string(nil)
	for ; at < len(args); at++ {
		if !strings.HasPrefix(args[at], "-") || args[at] == "-" {
			rest = append(rest, args[at])
			continue
		}
		flags = append(flags, args[at])
		if takesValue(command, args[at]) && at+1 < len(args) {
			at++
			flags = append(flags, args[at])
		}
	}
	return append(flags, rest...)
}

// takesValue says whether the argument after a flag is its value.
func takesValue(command *cli.Command, flag string) bool {
	name := strings.TrimLeft(flag, "-")
	for _, f := range command.Flags {
		if _, isBool := f.(*cli.BoolFlag); !isBool && slices.Contains(f.Names(), name) {
			return true
		}
	}
	return false
}

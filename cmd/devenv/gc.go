package main

import (
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/devenv-oidc/devenv/provision"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/state"
)

func gcCommand() *cli.Command {
	return &cli.Command{
		Name:  "gc",
		Usage: "delete environments that are over: after their --ttl, without their --owner-pid, without their record",
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "older-than", Usage: "delete every environment that was created longer than this `AGE` ago, too"},
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would be deleted, and delete nothing"},
			outputFlag("text", "json"),
		},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			if c.IsSet("older-than") && c.Duration("older-than") <= 0 {
				return failure.Newf(failure.Usage, "--older-than %s is no age", c.Duration("older-than")).Hint("for example: devenv gc --older-than 24h")
			}
			home, err := state.DefaultHome()
			if err != nil {
				return err
			}
			list, failed := provision.Collect(c.Context, home, provision.CollectRequest{OlderThan: c.Duration("older-than"), DryRun: c.Bool("dry-run")})
			if list == nil {
				return failed
			}
			if c.String("output") == "json" {
				if err := printJSON(c.App.Writer, list); err != nil {
					return err
				}
				return failed
			}
			for _, found := range list {
				did := "deleted"
				switch {
				case found.Problem != "":
					did = "not deleted"
				case c.Bool("dry-run"):
					did = "would be deleted"
				}
				fmt.Fprintf(c.App.Writer, "environment %s: %s: %s\n", found.Name, did, found.Reason)
			}
			return failed
		},
	}
}

// reapCommand is what `up` starts beside an environment that ends by itself.
func reapCommand() *cli.Command {
	return &cli.Command{
		Name: "reap", Hidden: true,
		Usage: "wait until an environment is over, and delete it",
		Flags: []cli.Flag{nameFlag()},
		Action: func(c *cli.Context) error {
			home, err := state.DefaultHome()
			if err != nil {
				return err
			}
			return provision.Reap(c.Context, home, c.String("name"))
		},
	}
}

// lifetimeFlags say when an environment deletes itself.
func lifetimeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.DurationFlag{Name: "ttl", Usage: "delete the environment by itself after this `TIME`, counted from now; 0 for never"},
		&cli.IntSliceFlag{Name: "owner-pid", Usage: "delete the environment by itself when the process with this `NUMBER` is gone; several: when all are; 0 for none"},
	}
}

// setLifetime reads lifetimeFlags.
func setLifetime(c *cli.Context, r *provision.UpRequest) error {
	if c.IsSet("ttl") {
		ttl := c.Duration("ttl")
		if ttl < 0 {
			return failure.Newf(failure.Usage, "--ttl %s is no time to live", ttl).Hint("for example: --ttl 2h")
		}
		r.TTL = &ttl
	}
	r.OwnerPIDs = c.IntSlice("owner-pid")
	for _, pid := range r.OwnerPIDs {
		if pid == os.Getpid() {
			return failure.Newf(failure.Usage, "process %d is this devenv itself, which ends with the command", pid).Hint("in a shell its own number is $$, and that of its parent $PPID")
		}
	}
	r.Reaper = []string{"reap", "--name", r.Name}
	return nil
}

package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision"
	"github.com/devenv-oidc/devenv/provision/failure"
)

func bundleCommand() *cli.Command {
	return &cli.Command{
		Name:        "bundle",
		Usage:       "write all that a profile needs into one file, for machines without a network",
		ArgsUsage:   "FILE",
		Description: "There, devenv up --bundle FILE makes the environment of it, and of nothing else.",
		Flags:       profileFlags(),
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return failure.Newf(failure.Usage, "devenv bundle takes one FILE, and got %d", c.NArg()).Hint("for example: devenv bundle devenv.bundle")
			}
			profile, err := loadProfile(c)
			if err != nil {
				return err
			}
			file, err := filepath.Abs(c.Args().First())
			if err != nil {
				return err
			}
			err = provision.Bundle(c.Context, provision.BundleRequest{
				Profile: profile, Runtime: c.String("runtime"), Sources: sourcesFile(), Devenv: buildVersion(), File: file,
				Say: func(what string) { fmt.Fprintf(c.App.ErrWriter, " + %s\n", what) },
			})
			if err != nil {
				return err
			}
			info, err := os.Stat(file)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.App.ErrWriter, "%s has %d MB; make the environment with: devenv up --bundle %s\n", c.Args().First(), info.Size()>>20, failure.Word(c.Args().First()))
			return nil
		},
	}
}

// fromBundle reads a request out of a bundle.
func fromBundle(c *cli.Context, r *provision.UpRequest) error {
	for _, flag := range []string{"profile", "file", "from"} {
		if c.IsSet(flag) {
			return failure.Newf(failure.Usage, "--bundle and --%s exclude each other: the profile is in the bundle", flag)
		}
	}
	opened, err := provision.OpenBundle(c.Context, c.String("bundle"))
	if err != nil {
		return err
	}
	if r.Profile, err = opened.Load(*c.Generic("set").(*assignments)...); err != nil {
		return profileError(err)
	}
	r.Sources, r.Runtime = opened.Sources(), cmp.Or(c.String("runtime"), opened.Runtime)
	if r.Runtime != opened.Runtime && r.Runtime != profiles.RuntimeAuto {
		return failure.Newf(failure.Usage, "the bundle is for the runtime %s, and has nothing that %s needs", opened.Runtime, r.Runtime).
			Hint("write another one: devenv bundle --runtime %s FILE", r.Runtime)
	}
	r.Runtime = opened.Runtime
	return nil
}

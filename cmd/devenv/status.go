package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/devenv-oidc/devenv/provision"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/state"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:  "status",
		Usage: "show the state of an environment",
		Flags: []cli.Flag{nameFlag(), outputFlag("text", "json", "env")},
		Action: func(c *cli.Context) error {
			e, err := open(c)
			if err != nil {
				return err
			}
			status, err := e.Status(c.Context)
			if err != nil {
				return err
			}
			if err := e.Compare(c.Context, status); err != nil {
				return err
			}
			switch c.String("output") {
			case "json":
				return printJSON(c.App.Writer, status)
			case "env":
				return printVariables(c.App.Writer, e, status)
			}
			return printStatus(c.App.Writer, status)
		},
	}
}

// printVariables prints what a shell script needs, for eval.
func printVariables(w io.Writer, e *provision.Environment, s *provision.Status) error {
	for _, v := range []struct{ name, value string }{
		{"DEVENV_NAME", s.Name},
		{"DEVENV_ISSUER", s.Issuer.URL},
		{"DEVENV_ISSUER_ADDRESS", s.Issuer.Address},
		{"DEVENV_CA_FILE", s.Issuer.CAFile},
		{"DEVENV_SERVER", s.Clusters[0].Server},
		{"DEVENV_KUBECONFIG", e.UserKubeconfigFile()},
		{"DEVENV_ADMIN_KUBECONFIG", s.Clusters[0].Kubeconfig},
		{"DEVENV_STATE_FOLDER", s.StateFolder},
	} {
		if _, err := fmt.Fprintf(w, "export %s=%s\n", v.name, failure.Word(v.value)); err != nil {
			return err
		}
	}
	return nil
}

func printStatus(w io.Writer, s *provision.Status) error {
	t := table(w)
	fmt.Fprintf(t, "environment\t%s, profile %s\n", s.Name, s.Profile)
	fmt.Fprintf(t, "runtime\t%s\n", s.Runtime)
	fmt.Fprintf(t, "ready\t%s\n", yesNo(s.Ready))
	fmt.Fprintf(t, "state\t%s\n", s.State)
	if s.Lifetime != nil {
		fmt.Fprintf(t, "ends by itself\t%s\n", s.Lifetime.Ends)
	}
	for _, d := range s.Differences {
		fmt.Fprintf(t, "\t%s\n", strings.TrimSpace(fmt.Sprintf("%s %s", d.Object, d.Field))+": "+d.Have+", should be "+d.Want)
	}
	for _, p := range s.Problems {
		fmt.Fprintf(t, "\t%s\n", p)
	}
	if !s.Ready {
		name := ""
		if s.Name != provision.DefaultName {
			name = " --name " + s.Name
		}
		fmt.Fprintf(t, "\tfind out why: devenv doctor%s\n", name)
	}
	fmt.Fprintf(t, "issuer\t%s\n", s.Issuer.URL)
	if s.Issuer.Problem != "" {
		fmt.Fprintf(t, "\tdoes not answer: %s\n", s.Issuer.Problem)
	}
	if s.Issuer.CAFile != "" {
		fmt.Fprintf(t, "its CA\t%s\n", s.Issuer.CAFile)
	}
	for _, c := range s.Clusters {
		fmt.Fprintf(t, "cluster\t%s, %s, Kubernetes %s, %s\n", c.Name, c.State, c.KubernetesVersion, c.Server)
	}
	for _, p := range s.Processes {
		fmt.Fprintf(t, "process\t%s, %s\n", p.Name, processState(p))
		if p.LastLines != "" {
			fmt.Fprintf(t, "\t%s\n", strings.ReplaceAll(p.LastLines, "\n", "\n\t"))
		}
	}
	for _, x := range s.Endpoints {
		fmt.Fprintf(t, "endpoint\t%s, %s\n", x.Name, x.URL)
	}
	for _, c := range s.Connections {
		fmt.Fprintf(t, "connection\t%s, from %s to %s, Secret %s, key %s\n", c.Name, c.From, c.To, c.Secret, c.Key)
	}
	for _, u := range s.Users {
		fmt.Fprintf(t, "user\t%s  %s\n", u.Email, strings.Join(u.Groups, ", "))
	}
	for _, client := range s.Clients {
		kind := "confidential"
		if client.Public {
			kind = "public"
		}
		fmt.Fprintf(t, "client\t%s  %s\n", client.ID, kind)
	}
	return t.Flush()
}

func processState(p provision.ProcessStatus) string {
	if p.State == "running" {
		return fmt.Sprintf("running as %d", p.PID)
	}
	return p.State + ", its log is " + p.Log
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func listCommand() *cli.Command {
	return &cli.Command{
		Name:  "list",
		Usage: "list every environment of this user",
		Flags: []cli.Flag{outputFlag("text", "json")},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			home, err := state.DefaultHome()
			if err != nil {
				return err
			}
			list, unknown := provision.List(c.Context, home)
			if list == nil {
				return unknown
			}
			if c.String("output") == "json" {
				return errors.Join(printJSON(c.App.Writer, list), unknown)
			}
			if len(list) == 0 && unknown == nil {
				fmt.Fprintln(c.App.ErrWriter, "no environments; create one with: devenv up")
				return nil
			}
			t := table(c.App.Writer)
			fmt.Fprintln(t, "NAME\tPROFILE\tRUNTIME\tREADY\tENDS\tISSUER")
			for _, l := range list {
				ends := "by down"
				if l.Lifetime != nil {
					ends = l.Lifetime.Ends
				}
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", l.Name, l.Profile, l.Runtime, yesNo(l.Ready), ends, l.Issuer+l.Problem)
			}
			return errors.Join(t.Flush(), unknown)
		},
	}
}

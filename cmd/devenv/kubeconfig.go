package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/devenv-oidc/devenv/provision"
)

func kubeconfigCommand() *cli.Command {
	flavors := []string{provision.FlavorExec, provision.FlavorToken, provision.FlavorKubelogin, provision.FlavorAdmin}
	return &cli.Command{
		Name:  "kubeconfig",
		Usage: "print a kubeconfig for a user",
		Flags: []cli.Flag{
			nameFlag(),
			&cli.StringFlag{Name: "cluster", Usage: "`CLUSTER` of the environment; the first if not given"},
			&cli.StringFlag{Name: "user", Usage: "`E-MAIL` of the user; the profile's first if not given"},
			&cli.StringFlag{Name: "flavor", Usage: "`FLAVOR`: exec calls devenv for tokens, token holds one, kubelogin calls kubectl oidc-login, admin is the cluster's own", Value: provision.FlavorExec, Action: oneOf("flavor", flavors)},
			&cli.StringFlag{Name: "grant", Usage: "`GRANT` by which exec gets tokens: " + strings.Join(grants, ", "), Value: provision.GrantPassword, Action: oneOf("grant", grants)},
			&cli.StringFlag{Name: "exec-api-version", Usage: "`VERSION` of client.authentication.k8s.io that exec and kubelogin speak: v1, v1beta1", Value: "v1", Action: oneOf("exec-api-version", []string{"v1", "v1beta1"})},
			&cli.BoolFlag{Name: "merge", Usage: "add it to your own kubeconfig instead of printing it; devenv down removes it again"},
		},
		Action: kubeconfig,
	}
}

func kubeconfig(c *cli.Context) error {
	e, err := open(c)
	if err != nil {
		return err
	}
	executable, err := os.Executable()
	if err != nil {
		return err
	}
	config, err := e.Kubeconfig(c.Context, provision.KubeconfigRequest{
		Cluster: c.String("cluster"), User: c.String("user"), Flavor: c.String("flavor"), Executable: executable, ExecAPIVersion: c.String("exec-api-version"), Grant: c.String("grant"),
	})
	if err != nil {
		return err
	}
	if c.Bool("merge") {
		file, context, err := e.MergeKubeconfig(config)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.App.ErrWriter, "added to %s; use it with: kubectl --context %s get pods\n", file, context)
		return err
	}
	text, err := clientcmd.Write(*config)
	if err != nil {
		return err
	}
	_, err = c.App.Writer.Write(text)
	return err
}

package main

import (
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/devenv-oidc/devenv/provision"
	"github.com/devenv-oidc/devenv/provision/failure"
)

// execInfoVariable is set by kubectl when it calls a credential plug-in.
// https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
const execInfoVariable = "KUBERNETES_EXEC_INFO"

func tokenCommand() *cli.Command {
	return &cli.Command{
		Name:  "token",
		Usage: "log a user in and print the id token, alone, on stdout",
		Description: "Started by kubectl, it prints an ExecCredential and keeps the token until it expires.\n" +
			"The password is the environment's own; set DEVENV_PASSWORD to try another.",
		Flags: []cli.Flag{
			nameFlag(),
			&cli.StringFlag{Name: "user", Usage: "`E-MAIL` of the user; the profile's first if not given"},
			&cli.StringFlag{Name: "client", Usage: "`ID` of the client; the one the cluster trusts if not given"},
			&cli.StringFlag{Name: "grant", Usage: "`GRANT` to use: password", Value: "password", Action: oneOf("grant", []string{"password"})},
			outputFlag("raw", "claims", "exec-credential"),
		},
		Action: token,
	}
}

func token(c *cli.Context) error {
	e, err := open(c)
	if err != nil {
		return err
	}
	request := provision.TokenRequest{User: c.String("user"), Client: c.String("client"), Password: os.Getenv("DEVENV_PASSWORD")}
	execInfo := os.Getenv(execInfoVariable)
	if form := c.String("output"); form == "exec-credential" || execInfo != "" && !c.IsSet("output") {
		apiVersion := "client.authentication.k8s.io/v1"
		if execInfo != "" {
			if apiVersion = provision.ExecAPIVersion(execInfo); apiVersion == "" {
				return failure.Newf(failure.Usage, "%s holds no ExecCredential", execInfoVariable)
			}
		}
		credential, err := e.ExecCredential(c.Context, apiVersion, request)
		if err != nil {
			return err
		}
		return printJSON(c.App.Writer, credential)
	}
	text, err := e.Token(c.Context, request)
	if err != nil {
		return err
	}
	if c.String("output") == "claims" {
		claims, err := provision.Claims(text)
		if err != nil {
			return err
		}
		return printJSON(c.App.Writer, claims)
	}
	_, err = fmt.Fprintln(c.App.Writer, text)
	return err
}

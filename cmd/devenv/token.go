package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

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
		Usage: "log a user in and print the ID token, alone, on stdout",
		Description: "Started by kubectl, it prints an ExecCredential and caches the token until it expires.\n" +
			"The password is the environment's own; set DEVENV_PASSWORD to try another.",
		Flags: []cli.Flag{
			nameFlag(),
			&cli.StringFlag{Name: "user", Usage: "`E-MAIL` of the user; the profile's first if not given"},
			&cli.StringFlag{Name: "client", Usage: "`ID` of the client; the one the cluster trusts if not given"},
			&cli.StringFlag{Name: "audience", Usage: "`ID` of another client that the token is for too; it must have the client among its trustedPeers"},
			&cli.StringFlag{Name: "grant", Usage: "`GRANT` to use: " + strings.Join(grants, ", "), Value: provision.GrantPassword, Action: oneOf("grant", grants)},
			&cli.DurationFlag{Name: "timeout", Usage: "`LIMIT` for a person to log in", Value: 5 * time.Minute},
			outputFlag("raw", "claims", "exec-credential"),
		},
		Action: token,
	}
}

var grants = []string{provision.GrantPassword, provision.GrantBrowser, provision.GrantDevice, provision.GrantClientCredentials}

func token(c *cli.Context) error {
	e, err := open(c)
	if err != nil {
		return err
	}
	request := provision.TokenRequest{
		User: c.String("user"), Client: c.String("client"), Audience: c.String("audience"), Password: os.Getenv("DEVENV_PASSWORD"), Grant: c.String("grant"),
		Show: func(url, code string) { showLogin(c.App.ErrWriter, url, code) },
	}
	limit := c.Duration("timeout")
	ctx, cancel := context.WithTimeoutCause(c.Context, limit, fmt.Errorf("the limit of %s was reached", limit))
	defer cancel()
	execInfo := os.Getenv(execInfoVariable)
	if form := c.String("output"); form == "exec-credential" || execInfo != "" && !c.IsSet("output") {
		apiVersion := "client.authentication.k8s.io/v1"
		if execInfo != "" {
			if apiVersion = provision.ExecAPIVersion(execInfo); apiVersion == "" {
				return failure.Newf(failure.Usage, "%s holds no ExecCredential", execInfoVariable)
			}
		}
		credential, err := e.ExecCredential(ctx, apiVersion, request)
		if err != nil {
			return err
		}
		return printJSON(c.App.Writer, credential)
	}
	text, err := e.Token(ctx, request)
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

// showLogin tells where to log in, and opens a browser there unless that is for
// another device.
func showLogin(w io.Writer, url, code string) {
	if code != "" {
		fmt.Fprintf(w, "log in at %s with the code %s\n", url, code)
		return
	}
	if err := openBrowser(url); err != nil {
		fmt.Fprintf(w, "log in at %s\n", url)
		return
	}
	fmt.Fprintf(w, "log in in the browser that opens, or at %s\n", url)
}

// openBrowser starts $BROWSER, or what the system has for it.
func openBrowser(url string) error {
	for _, command := range []string{os.Getenv("BROWSER"), "xdg-open", "open"} {
		if path, err := exec.LookPath(command); command != "" && err == nil {
			return exec.Command(path, url).Start()
		}
	}
	return errors.New("there is no browser")
}

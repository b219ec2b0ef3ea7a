package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/state"
)

func usersCommand() *cli.Command {
	return &cli.Command{
		Name:  "users",
		Usage: "list and change the users of a running environment",
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "list the users", Action: listUsers,
				Flags: []cli.Flag{nameFlag(), &cli.BoolFlag{Name: "show-passwords", Usage: "with their passwords"}, outputFlag("text", "json")},
			},
			{
				Name: "add", Usage: "add a user, who can log in at once", ArgsUsage: "E-MAIL",
				Flags: []cli.Flag{
					nameFlag(),
					&cli.StringSliceFlag{Name: "group", Usage: "`GROUP` of the user, may be repeated"},
					&cli.StringFlag{Name: "username", Usage: "display `NAME`"},
					&cli.BoolFlag{Name: "unverified", Usage: "email_verified is false in their tokens"},
					passwordFlag("password"), showFlag("password"),
				},
				Action: addUser,
			},
			{
				Name: "remove", Usage: "remove a user, whose tokens are valid until they expire", ArgsUsage: "E-MAIL", Flags: []cli.Flag{nameFlag()},
				Action: func(c *cli.Context) error {
					return changeLogins(c, "removed user %s\n", func(l record.Logins, email string) error { return l.RemoveUser(email) })
				},
			},
			{
				Name: "passwd", Usage: "give a user another password, random if none is given", ArgsUsage: "E-MAIL",
				Flags:  []cli.Flag{nameFlag(), passwordFlag("password"), showFlag("password")},
				Action: setPassword,
			},
		},
	}
}

func clientsCommand() *cli.Command {
	return &cli.Command{
		Name:  "clients",
		Usage: "list and change the OAuth 2.0 clients of a running environment",
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "list the clients", Action: listClients,
				Flags: []cli.Flag{nameFlag(), &cli.BoolFlag{Name: "show-secrets", Usage: "with their secrets"}, outputFlag("text", "json")},
			},
			{
				Name: "add", Usage: "add a client, which can be used at once", ArgsUsage: "ID",
				Flags: []cli.Flag{
					nameFlag(),
					&cli.StringSliceFlag{Name: "redirect-uri", Usage: "`URI` that logins may return to, may be repeated"},
					&cli.StringSliceFlag{Name: "trusted-peer", Usage: "`CLIENT` that may ask for tokens for this one, may be repeated"},
					&cli.BoolFlag{Name: "public", Usage: "it has no secret"},
					passwordFlag("secret"), showFlag("secret"),
				},
				Action: addClient,
			},
			{
				Name: "remove", Usage: "remove a client", ArgsUsage: "ID", Flags: []cli.Flag{nameFlag()},
				Action: func(c *cli.Context) error {
					return changeLogins(c, "removed client %s\n", func(l record.Logins, id string) error { return l.RemoveClient(id) })
				},
			},
			{
				Name: "secret", Usage: "give a client another secret, random if none is given", ArgsUsage: "ID",
				Flags:  []cli.Flag{nameFlag(), passwordFlag("secret"), showFlag("secret")},
				Action: setSecret,
			},
		},
	}
}

func passwordFlag(what string) cli.Flag {
	return &cli.BoolFlag{Name: what + "-stdin", Usage: "read the " + what + " from stdin"}
}

func showFlag(what string) cli.Flag {
	return &cli.BoolFlag{Name: "show-" + what, Usage: "print the " + what + " on stdout"}
}

// fromStdin reads a password or secret where its flag says so; else it is empty.
func fromStdin(c *cli.Context, what string) (string, error) {
	if !c.Bool(what + "-stdin") {
		return "", nil
	}
	text, err := io.ReadAll(io.LimitReader(c.App.Reader, 4096))
	if err != nil {
		return "", err
	}
	if password := strings.TrimRight(string(text), "\r\n"); password != "" {
		return password, nil
	}
	return "", failure.Newf(failure.Usage, "there is no %s on stdin", what)
}

// changeLogins runs an edit on what the command names, and says that it is done.
func changeLogins(c *cli.Context, done string, edit func(l record.Logins, name string) error) error {
	if c.NArg() != 1 {
		return failure.Newf(failure.Usage, "%s takes one argument, and got %d", c.Command.HelpName, c.NArg()).
			Hint("see: %s --help", c.Command.HelpName)
	}
	home, err := state.DefaultHome()
	if err != nil {
		return err
	}
	name := c.Args().First()
	if err := provision.ChangeLogins(c.Context, home, c.String("name"), func(l record.Logins) error { return edit(l, name) }); err != nil {
		return err
	}
	fmt.Fprintf(c.App.ErrWriter, done, name)
	return nil
}

func addUser(c *cli.Context) error {
	password, err := fromStdin(c, "password")
	if err != nil {
		return err
	}
	verified := !c.Bool("unverified")
	err = changeLogins(c, "added user %s\n", func(l record.Logins, email string) error {
		return l.AddUser(profiles.User{Email: email, Username: c.String("username"), Groups: c.StringSlice("group"), Password: password, EmailVerified: &verified})
	})
	if err != nil || !c.Bool("show-password") {
		return err
	}
	return showPassword(c)
}

func setPassword(c *cli.Context) error {
	password, err := fromStdin(c, "password")
	if err != nil {
		return err
	}
	err = changeLogins(c, "user %s has another password\n", func(l record.Logins, email string) error { return l.SetPassword(email, password) })
	if err != nil || !c.Bool("show-password") {
		return err
	}
	return showPassword(c)
}

func showPassword(c *cli.Context) error {
	e, err := openNamed(c)
	if err != nil {
		return err
	}
	for _, u := range e.Users() {
		if strings.EqualFold(u.Email, c.Args().First()) {
			fmt.Fprintln(c.App.Writer, u.Password)
		}
	}
	return nil
}

func addClient(c *cli.Context) error {
	secret, err := fromStdin(c, "secret")
	if err != nil {
		return err
	}
	err = changeLogins(c, "added client %s\n", func(l record.Logins, id string) error {
		return l.AddClient(profiles.Client{ID: id, Public: c.Bool("public"), Secret: secret, RedirectURIs: c.StringSlice("redirect-uri"), TrustedPeers: c.StringSlice("trusted-peer")})
	})
	if err != nil || !c.Bool("show-secret") {
		return err
	}
	return showSecret(c)
}

func setSecret(c *cli.Context) error {
	secret, err := fromStdin(c, "secret")
	if err != nil {
		return err
	}
	err = changeLogins(c, "client %s has another secret\n", func(l record.Logins, id string) error { return l.SetSecret(id, secret) })
	if err != nil || !c.Bool("show-secret") {
		return err
	}
	return showSecret(c)
}

func showSecret(c *cli.Context) error {
	e, err := openNamed(c)
	if err != nil {
		return err
	}
	for _, client := range e.Clients() {
		if client.ID == c.Args().First() {
			fmt.Fprintln(c.App.Writer, client.Secret)
		}
	}
	return nil
}

func listUsers(c *cli.Context) error {
	e, err := open(c)
	if err != nil {
		return err
	}
	users := e.Users()
	if !c.Bool("show-passwords") {
		for i := range users {
			users[i].Password, users[i].Token = "", nil // arguments of a command can be secrets, too
		}
	}
	if c.String("output") == "json" {
		return printJSON(c.App.Writer, users)
	}
	t := table(c.App.Writer)
	fmt.Fprintln(t, "E-MAIL\tGROUPS\tVERIFIED\tPASSWORD")
	for _, u := range users {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", u.Email, strings.Join(u.Groups, ", "), yesNo(*u.EmailVerified), hidden(u.Password))
	}
	return t.Flush()
}

func listClients(c *cli.Context) error {
	e, err := open(c)
	if err != nil {
		return err
	}
	clients := e.Clients()
	if !c.Bool("show-secrets") {
		for i := range clients {
			clients[i].Secret = ""
		}
	}
	if c.String("output") == "json" {
		return printJSON(c.App.Writer, clients)
	}
	t := table(c.App.Writer)
	fmt.Fprintln(t, "ID\tPUBLIC\tREDIRECT URIS\tSECRET")
	for _, client := range clients {
		secret := hidden(client.Secret)
		if client.Public {
			secret = "none"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", client.ID, yesNo(client.Public), strings.Join(client.RedirectURIs, ", "), secret)
	}
	return t.Flush()
}

// hidden is a secret as it is shown; empty where it was not asked for.
func hidden(secret string) string {
	if secret == "" {
		return "(hidden)"
	}
	return secret
}

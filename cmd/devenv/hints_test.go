package main

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// typed finds commands in texts: "devenv up --recreate". What a hint puts in
// later (%s) ends it.
var typed = regexp.MustCompile(`(?:^|[^-/.\w"])devenv ([a-z]+(?: [a-z]+)?)((?: --[a-z-]+(?:[ =][A-Z]+)?)*)`)

// Whatever a hint, a page or an action tells people to type exists: the command,
// and its flags.
func TestWhatIsToBeTypedExists(t *testing.T) {
	app := newApp(io.Discard, io.Discard)
	found := 0
	look := func(where, text string) {
		for _, match := range typed.FindAllStringSubmatch(text, -1) {
			words := strings.Fields(match[1])
			command := named(app.Commands, words[0])
			if command == nil {
				if !slices.Contains(noCommands, words[0]) {
					t.Errorf("%s: there is no command devenv %s: %s", where, words[0], strings.TrimSpace(match[0]))
				}
				continue
			}
			found++
			if len(words) > 1 {
				if sub := named(command.Subcommands, words[1]); sub != nil {
					command = sub
				}
			}
			for _, flag := range regexp.MustCompile(`--([a-z-]+)`).FindAllStringSubmatch(match[2], -1) {
				if !hasFlag(command, flag[1]) {
					t.Errorf("%s: devenv %s has no flag --%s", where, match[1], flag[1])
				}
			}
		}
	}
	for _, root := range []string{"cmd", "provision", "profiles"} {
		err := filepath.WalkDir(filepath.Join("..", "..", root), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(gotoken.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == gotoken.STRING {
					if text, err := strconv.Unquote(literal.Value); err == nil {
						look(path, text)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, page := range []string{"README.md", "cmd/README.md", "cmd/CI.md", "profiles/README.md", "provision/README.md", "provision/processruntime/README.md", "provision/devenvtest/README.md", ".github/actions/up/action.yml", ".github/actions/down/action.yml"} {
		text, err := os.ReadFile(filepath.Join("..", "..", page))
		if err != nil {
			t.Fatal(err)
		}
		code := strings.HasSuffix(page, ".yml")
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "```") {
				code = !code
				continue
			}
			if code {
				look(page, strings.TrimSpace(line))
			}
		}
	}
	if found < 60 {
		t.Errorf("only %d commands were found", found)
	}
}

// noCommands are words that follow devenv in a sentence.
var noCommands = []string{"is", "has", "are", "itself", "decides", "leaves", "made", "makes", "writes", "wrote", "does", "calls", "did", "knows", "says", "works", "chooses", "names", "cannot", "trusts", "needs", "never", "for", "dials", "and", "asks", "choose", "that", "fetches"}

func named(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

func hasFlag(command *cli.Command, name string) bool {
	return name == "help" || slices.ContainsFunc(command.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
}

package provision

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/devenv-oidc/devenv/"

// homes says which package alone may import what is heavy.
var homes = map[string][]string{
	"sigs.k8s.io/kind":       {"provision/cluster"},
	"helm.sh/helm":           {"provision/chart"},
	"github.com/dexidp/dex":  {"provision/identity"},
	"google.golang.org/grpc": {"provision/identity"},
	"golang.org/x/crypto":    {"provision/identity"},
	"golang.org/x/oauth2":    {"provision/identity"},
	"k8s.io/apiserver":       {"provision/authentication"},
	"github.com/urfave/cli":  {"cmd/devenv"},

	"github.com/google/go-containerregistry": {"provision/programs"},
}

// leaves are the packages that every other below provision may use.
var leaves = map[string]bool{"provision/failure": true, "provision/jwt": true, "provision/kube": true, "provision/trust": true}

// Imports go one way: cmd → provision → its packages → profiles, and the
// packages know the leaves but not each other.
func TestImportsGoOneWay(t *testing.T) {
	files := 0
	for _, root := range []string{"cmd", "provision", "profiles"} {
		err := filepath.WalkDir(filepath.Join("..", root), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			files++
			from := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../")
			for _, i := range file.Imports {
				imported, err := strconv.Unquote(i.Path.Value)
				if err != nil {
					return err
				}
				if problem := forbidden(from, imported); problem != "" {
					t.Errorf("%s imports %s: %s", path, imported, problem)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 40 {
		t.Errorf("only %d files were looked at", files)
	}
}

func forbidden(from, imported string) string {
	for heavy, allowed := range homes {
		if (imported == heavy || strings.HasPrefix(imported, heavy+"/")) && from != allowed[0] {
			return "only " + allowed[0] + " may"
		}
	}
	to, ours := strings.CutPrefix(imported, module)
	switch {
	case !ours:
		return ""
	case from == "profiles":
		return "profiles stands at the bottom"
	case strings.HasPrefix(to, "cmd/"):
		return "nobody imports a command"
	case from == "provision/runtimetest":
		return "" // a test suite, for those who make clusters
	case strings.HasPrefix(from, "provision/") && to == "provision":
		return "that is the wrong way"
	case strings.HasPrefix(from, "provision/") && strings.HasPrefix(to, "provision/") && !leaves[to]:
		return "the packages do not know each other"
	}
	return ""
}

func TestForbidden(t *testing.T) {
	for _, c := range []struct{ from, to string }{
		{"provision/chart", module + "provision/identity"},
		{"provision/chart", "sigs.k8s.io/kind/pkg/cluster"},
		{"provision", "helm.sh/helm/v3/pkg/action"},
		{"profiles", module + "provision/state"},
		{"provision/check", module + "provision"},
	} {
		if forbidden(c.from, c.to) == "" {
			t.Errorf("%s may import %s", c.from, c.to)
		}
	}
	if problem := forbidden("provision/access", module+"provision/kube"); problem != "" {
		t.Error(problem)
	}
}

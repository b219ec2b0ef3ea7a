package provision

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/devenv-oidc/devenv/"

// homes says which package alone may import what is heavy.
var homes = map[string][]string{
	"sigs.k8s.io/kind":          {"provision/cluster"},
	"helm.sh/helm":              {"provision/chart"},
	"github.com/go-git/go-git":  {"provision/manifest"},
	"sigs.k8s.io/kustomize":     {"provision/manifest"},
	"github.com/dexidp/dex":     {"provision/identity"},
	"github.com/coreos/go-oidc": {"provision/identity"},
	"google.golang.org/grpc":    {"provision/identity"},
	"golang.org/x/crypto":       {"provision/identity"},
	// client-go's renewing transports speak its TokenSource
	"golang.org/x/oauth2":   {"provision/identity", "provision/devenvtest"},
	"k8s.io/apiserver":      {"provision/authentication"},
	"sigs.k8s.io/cli-utils": {"provision/kube"},
	"github.com/urfave/cli": {"cmd/devenv"},

	"github.com/google/go-containerregistry": {"provision/programs", "provision/image"},
}

// floors are the packages below provision, from the top down: each imports
// those of lower floors only. Packages of one floor do not know each other.
var floors = [][]string{
	{"provision/devenvtest"},
	{"provision"},
	{"provision/report", "provision/bundle"},
	{"provision/kindruntime", "provision/processruntime", "provision/diagnosis", "provision/drift"},
	{"provision/steps"},
	{"provision/proofs"},
	{"provision/session"},
	{"provision/environment", "provision/lifetime"},
	// one for each heavy library, or each matter of its own
	{
		"provision/access", "provision/authentication", "provision/binding", "provision/certificates", "provision/chart", "provision/check", "provision/cluster",
		"provision/connection", "provision/identity", "provision/manifest", "provision/process", "provision/programs", "provision/share",
	},
	{"provision/record", "provision/image"},
	{"provision/plan", "provision/state"},
	// leaves
	{"provision/kube", "provision/trust"},
	{"provision/progress"},
	{"provision/failure", "provision/jwt"},
	{"profiles"},
}

// floorOf is the number of a package's floor; the ground is the highest.
func floorOf(of string) (floor int, ok bool) {
	for i, packages := range floors {
		if slices.Contains(packages, of) {
			return i, true
		}
	}
	return 0, false
}

// Imports go one way, down the floors.
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
		if (imported == heavy || strings.HasPrefix(imported, heavy+"/")) && !slices.Contains(allowed, from) {
			return "only " + strings.Join(allowed, " and ") + " may"
		}
	}
	to, ours := strings.CutPrefix(imported, module)
	if !ours {
		return ""
	}
	if strings.HasPrefix(to, "cmd/") {
		return "nobody imports a command"
	}
	if strings.HasPrefix(from, "cmd/") || from == "provision/runtimetest" {
		return "" // above them all
	}
	above, known := floorOf(from)
	below, alsoKnown := floorOf(to)
	switch {
	case !known:
		return from + " has no floor: add it to the list above"
	case !alsoKnown:
		return to + " has no floor: add it to the list above"
	case above >= below:
		return "that is not a floor below"
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
		{"provision/kindruntime", module + "provision/processruntime"},
		{"provision/record", module + "provision/steps"},
		{"provision/newcomer", module + "provision/kube"},
	} {
		if forbidden(c.from, c.to) == "" {
			t.Errorf("%s may import %s", c.from, c.to)
		}
	}
	if problem := forbidden("provision/access", module+"provision/kube"); problem != "" {
		t.Error(problem)
	}
}

// The files of this package stand one above the other too: what a file uses of
// another does not lead back to it.
func TestFilesPointOneWay(t *testing.T) {
	uses := usesBetweenFiles(t, ".")
	if len(uses) < 8 {
		t.Fatalf("only %d files were looked at", len(uses))
	}
	for _, circle := range circles(uses) {
		t.Errorf("these files use each other in a circle: %s", strings.Join(circle, ", "))
	}
}

// usesBetweenFiles says which files of a package use which: by a function or a
// type, or by a method, told by its name where only one file has it.
func usesBetweenFiles(t *testing.T, folder string) map[string]map[string]bool {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	files, home := map[string]*ast.File{}, map[string]string{}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(path)] = file
		for _, name := range declared(file) {
			home[name] = filepath.Base(path)
		}
	}
	uses := map[string]map[string]bool{}
	for name, file := range files {
		uses[name] = map[string]bool{}
		for _, used := range usedNames(file) {
			if to := home[used]; to != "" && to != name {
				uses[name][to] = true
			}
		}
	}
	return uses
}

// usedNames are the names that a file uses, and not those that it gives to
// fields, parameters and the like; methods have a dot in front.
func usedNames(file *ast.File) []string {
	var names []string
	given := map[*ast.Ident]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			for _, name := range n.Names {
				given[name] = true
			}
		case *ast.KeyValueExpr:
			if key, ok := n.Key.(*ast.Ident); ok {
				given[key] = true
			}
		case *ast.SelectorExpr:
			given[n.Sel] = true
			if x, ok := n.X.(*ast.Ident); !ok || !isImport(file, x.Name) {
				names = append(names, "."+n.Sel.Name)
			}
		case *ast.Ident:
			if !given[n] {
				names = append(names, n.Name)
			}
		}
		return true
	})
	return names
}

// declared are a file's top-level names; methods have a dot in front.
func declared(file *ast.File) []string {
	var names []string
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil {
				name = "." + name
			}
			names = append(names, name)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					names = append(names, spec.Name.Name)
				case *ast.ValueSpec:
					for _, n := range spec.Names {
						names = append(names, n.Name)
					}
				}
			}
		}
	}
	return names
}

func isImport(file *ast.File, name string) bool {
	return slices.ContainsFunc(file.Imports, func(i *ast.ImportSpec) bool {
		path, _ := strconv.Unquote(i.Path.Value)
		return i.Name != nil && i.Name.Name == name || i.Name == nil && filepath.Base(path) == name
	})
}

// circles are the sets of files that reach each other.
func circles(uses map[string]map[string]bool) [][]string {
	reach := map[string]map[string]bool{}
	var walk func(from, at string)
	walk = func(from, at string) {
		for to := range uses[at] {
			if !reach[from][to] {
				reach[from][to] = true
				walk(from, to)
			}
		}
	}
	for file := range uses {
		reach[file] = map[string]bool{}
		walk(file, file)
	}
	var found [][]string
	in := map[string]bool{}
	for _, file := range slices.Sorted(maps.Keys(uses)) {
		if in[file] || !reach[file][file] {
			continue
		}
		var circle []string
		for _, other := range slices.Sorted(maps.Keys(uses)) {
			if reach[file][other] && reach[other][file] {
				circle, in[other] = append(circle, other), true
			}
		}
		found = append(found, circle)
	}
	return found
}

func TestCircles(t *testing.T) {
	uses := map[string]map[string]bool{"a": {"b": true}, "b": {"c": true}, "c": {"b": true}, "d": {"a": true}}
	if got := circles(uses); len(got) != 1 || !slices.Equal(got[0], []string{"b", "c"}) {
		t.Errorf("%v", got)
	}
}

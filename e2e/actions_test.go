package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// action is what GitHub reads of an action.yml
// (https://docs.github.com/actions/reference/metadata-syntax-reference).
type action struct {
	Name        string                                           `json:"name"`
	Description string                                           `json:"description"`
	Inputs      map[string]struct{ Description, Default string } `json:"inputs"`
	Outputs     map[string]struct{ Description, Value string }   `json:"outputs"`
	Runs        struct {
		Using string `json:"using"`
		Steps []struct {
			ID       string            `json:"id,omitempty"`
			Name     string            `json:"name"`
			If       string            `json:"if,omitempty"`
			Continue bool              `json:"continue-on-error,omitempty"`
			Shell    string            `json:"shell,omitempty"`
			Env      map[string]string `json:"env,omitempty"`
			Run      string            `json:"run,omitempty"`
			Uses     string            `json:"uses,omitempty"`
			With     map[string]string `json:"with,omitempty"`
		} `json:"steps"`
	} `json:"runs"`
}

var expression = regexp.MustCompile(`\$\{\{\s*(.*?)\s*\}\}`)

// The shell steps of the actions do what a job wants of them; their inputs and
// outputs are those that they say.
func TestActions(t *testing.T) {
	t.Parallel()
	temporary := t.TempDir()
	path := filepath.Dir(binary) + ":" + os.Getenv("PATH")
	outputs := map[string]string{} // steps.ID.outputs.NAME
	run := func(file string, inputs map[string]string, wantErr bool) {
		t.Helper()
		text, err := os.ReadFile(file)
		noError(t, err)
		var a action
		noError(t, yaml.UnmarshalStrict(text, &a))
		if a.Runs.Using != "composite" {
			t.Fatalf("%s runs %s", file, a.Runs.Using)
		}
		for name := range inputs {
			if _, ok := a.Inputs[name]; !ok {
				t.Errorf("%s has no input %s", file, name)
			}
		}
		value := func(expr string) string {
			if name, ok := strings.CutPrefix(expr, "inputs."); ok {
				input, known := a.Inputs[name]
				if !known {
					t.Errorf("%s: there is no input %s", file, name)
				}
				if given, ok := inputs[name]; ok {
					return given
				}
				return input.Default
			}
			if got, ok := outputs[expr]; ok {
				return got
			}
			t.Errorf("%s: %s is not known", file, expr)
			return ""
		}
		for _, step := range a.Runs.Steps {
			if (step.Run == "") == (step.Uses == "") || step.Run != "" && step.Shell != "bash" {
				t.Errorf("%s: step %q must either use something or run a bash script", file, step.Name)
			}
			if expression.MatchString(step.Run) {
				t.Errorf("%s: step %q has an expression in its script, where it could be anything", file, step.Name)
			}
			if step.Run == "" {
				if !regexp.MustCompile(`^actions/[a-z-]+@v\d+$`).MatchString(step.Uses) {
					t.Errorf("%s: %s", file, step.Uses)
				}
				continue
			}
			c := exec.CommandContext(t.Context(), "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step.Run)
			output := filepath.Join(t.TempDir(), "output")
			c.Env = append(os.Environ(), "PATH="+path, "GITHUB_OUTPUT="+output, "GITHUB_PATH="+output+".path", "RUNNER_TEMP="+temporary, "GITHUB_ACTIONS=true", "GITHUB_STEP_SUMMARY="+filepath.Join(temporary, "summary.md"))
			for name, expr := range step.Env {
				c.Env = append(c.Env, name+"="+expression.ReplaceAllStringFunc(expr, func(e string) string { return value(expression.FindStringSubmatch(e)[1]) }))
			}
			out, err := c.CombinedOutput()
			if (err != nil) != wantErr && (err != nil || step.ID == "up") {
				t.Fatalf("%s, %s: %v\n%s", file, step.Name, err, out)
			}
			said, _ := os.ReadFile(output)
			for line := range strings.Lines(string(said)) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
				outputs["steps."+step.ID+".outputs."+name] = value
			}
			if err != nil {
				return
			}
		}
		for name, o := range a.Outputs {
			if got := value(expression.FindStringSubmatch(o.Value)[1]); got == "" {
				t.Errorf("%s: output %s is empty", file, name)
			}
		}
	}
	const up, down, name = "../.github/actions/up/action.yml", "../.github/actions/down/action.yml", "e2e-action"
	inputs := map[string]string{"name": name, "runtime": "process", "args": "--set\nspec.dex.users[3].groups=[late, night shift]"}
	run(up, inputs, false)
	if out, err := kubectl(t, outputs["steps.up.outputs.kubeconfig"], "auth", "whoami", "--output=jsonpath={.status.userInfo.username}"); err != nil || out != "admin@example.com" {
		t.Errorf("the kubeconfig is of %q, %v", out, err)
	}
	mustKubectl(t, outputs["steps.up.outputs.admin-kubeconfig"], "get", "namespaces")
	devenv(t, "list").wants(t, 0, name, "at ") // its end
	devenv(t, "users", "list", "--name", name).wants(t, 0, "late, night shift")
	for file, says := range map[string]string{"summary.md": "### devenv: " + name + " is ready and proven", "devenv-up-" + name + ".xml": `failures="0"`} {
		if text, err := os.ReadFile(filepath.Join(temporary, file)); err != nil || !strings.Contains(string(text), says) {
			t.Errorf("%s: %v\n%s", file, err, text)
		}
	}
	run(down, map[string]string{"name": name, "failed": "true"}, false)
	if _, err := os.Stat(filepath.Join(temporary, "devenv-"+name+".zip")); err != nil || outputs["steps.report.outputs.kept"] != "true" {
		t.Errorf("the report: %v", err)
	}
	devenv(t, "status", "--name", name).wants(t, 2)

	run(up, map[string]string{"name": name, "runtime": "process", "profile": "absent"}, true)
	run(down, map[string]string{"name": name, "failed": "true"}, false) // there is nothing to report or to delete
}

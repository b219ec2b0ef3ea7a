package provision

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/access"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/processruntime"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/state"
	"github.com/devenv-oidc/devenv/provision/steps"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// adminKubeconfig has no CA, which is another in every environment.
const adminKubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:20001"}}]
users: [{name: u, user: {token: none}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
`

// fixed is an environment of a profile in which nothing is random.
func fixed(t *testing.T, name, runtime string) *Environment {
	t.Helper()
	profile, err := profiles.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	home := state.Home(t.TempDir())
	r, err := record.Resolve(home, "dev", runtimeNamed(runtime).Runtime, profile, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.IssuerPort = 30001
	if _, err := home.Dir("dev").Write([]byte("(the environment's authority)\n"), "ca.crt"); err != nil {
		t.Fatal(err)
	}
	for i, c := range r.Profile.Spec.Clusters {
		r.APIPorts[c.Name] = 20001 + 10*i
		if _, err := home.Dir("dev").Write([]byte(adminKubeconfig), "clusters", c.Name, "admin.kubeconfig"); err != nil {
			t.Fatal(err)
		}
	}
	for i := range r.Profile.Spec.Dex.Clients {
		if c := &r.Profile.Spec.Dex.Clients[i]; c.Secret != "" {
			c.Secret = "secret-of-" + c.ID
		}
	}
	for name := range r.EndpointPorts {
		r.EndpointPorts[name] = 30002
	}
	for name := range r.Random {
		r.Random[name] = "(" + name + ")"
	}
	r.Pins = profiles.Pinned()
	if r.InternalPorts != nil {
		r.InternalPorts[processruntime.DexAdminPort] = 20002
	}
	return newEnvironment(home, r)
}

// What the shipped profiles become: a change of any of it is to be seen.
//
//	go test ./provision -run TestGolden -update
func TestGolden(t *testing.T) {
	for _, name := range profiles.Names() {
		for _, runtime := range []string{profiles.RuntimeKind, profiles.RuntimeProcess} {
			t.Run(name+"/"+runtime, func(t *testing.T) {
				e := fixed(t, name, runtime)
				files := map[string]string{
					"dex.yaml":                  inYAML(t, dexConfig(t, e)),
					"plan.txt":                  planLines(e),
					"kubeconfig-exec.yaml":      kubeconfigOf(t, e, FlavorExec),
					"kubeconfig-kubelogin.yaml": kubeconfigOf(t, e, FlavorKubelogin),
				}
				for _, c := range e.env.Record.Profile.Spec.Clusters {
					files[steps.ID(e.env, "api-server-flags", c.Name)+".txt"] = flagLines(e, c)
					if c.Trust.Configuration != nil {
						text, err := steps.AuthenticationConfiguration(e.env, c)
						if err != nil {
							t.Fatal(err)
						}
						files[steps.ID(e.env, "authentication", c.Name)+".yaml"] = string(text)
					}
					if runtime == profiles.RuntimeKind { // the same on both
						files[steps.ID(e.env, "access", c.Name)+".yaml"] = documents(t, access.Objects(c.Access))
						c.Manifests = nil // they are not on this machine
						objects, err := steps.Objects(t.Context(), e.env, c)
						if err != nil {
							t.Fatal(err)
						}
						if len(objects) > 0 {
							files[steps.ID(e.env, "objects", c.Name)+".yaml"] = documents(t, objects)
						}
					}
				}
				for _, c := range e.env.Record.Profile.Spec.Connections {
					filled, err := environment.Fill(e.env, c)
					if err != nil {
						t.Fatal(err)
					}
					files["connection-"+c.Name+".yaml"] = inYAML(t, filled)
				}
				for file, text := range files {
					text = strings.ReplaceAll(text, string(e.env.Home), "/state")
					compare(t, filepath.Join("..", "testdata", "profiles", name, runtime, file), text)
				}
			})
		}
	}
}

func planLines(e *Environment) string {
	text := ""
	for _, s := range e.runtime.Plan() {
		text += fmt.Sprintf("%s: %s (after: %s)\n", s.ID, s.Title, strings.Join(s.Needs, ", "))
	}
	return text
}

func documents(t *testing.T, objects []kube.Object) string {
	text := ""
	for _, object := range objects {
		text += "---\n" + inYAML(t, object)
	}
	return text
}

func flagLines(e *Environment, c profiles.Cluster) string {
	caFile, configFile := "/etc/devenv/ca.crt", "/etc/devenv/"+steps.AuthenticationFile
	if e.env.Record.Runtime == profiles.RuntimeProcess {
		caFile, configFile = e.CAFile(), e.env.Dir.Path("clusters", c.Name, "node", steps.AuthenticationFile)
	}
	var lines []string
	for flag, value := range steps.APIServerFlags(e.env, c, caFile, configFile) {
		lines = append(lines, fmt.Sprintf("--%s=%s\n", flag, value))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func dexConfig(t *testing.T, e *Environment) any {
	t.Helper()
	settings, err := steps.DexSettings(e.env, "fingerprint")
	if err != nil {
		t.Fatal(err)
	}
	if e.env.Record.Runtime == profiles.RuntimeKind {
		values, err := identity.Values(settings)
		if err != nil {
			t.Fatal(err)
		}
		return values
	}
	config, err := identity.ProgramConfig(settings, e.env.Dir.Path("dex"), e.env.Record.IssuerPort, e.env.Record.InternalPorts[processruntime.DexAdminPort])
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func kubeconfigOf(t *testing.T, e *Environment, flavor string) string {
	t.Helper()
	config, err := e.Kubeconfig(t.Context(), KubeconfigRequest{Flavor: flavor, Executable: "/usr/local/bin/devenv"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := clientcmd.Write(*config)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func inYAML(t *testing.T, value any) string {
	t.Helper()
	text, err := yaml.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func compare(t *testing.T, file, text string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; write it with -update", err)
	}
	if string(want) != text {
		t.Errorf("%s is\n%s\nwant\n%s", file, text, want)
	}
}

// A secret that is random in every environment must not get into golden files.
func TestGoldenHoldsNoRandomness(t *testing.T) {
	random := regexp.MustCompile(`[A-Z2-7]{26}`) // as of rand.Text
	files, err := filepath.Glob("../testdata/profiles/*/*/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || random.Match(text) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

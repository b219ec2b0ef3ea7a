package e2e

import (
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// With nothing but curl, kubectl and what status and token print.
func TestCurlAndKubectlAlone(t *testing.T) { onBoth(t, testCurlAndKubectlAlone) }

func testCurlAndKubectlAlone(t *testing.T, name string) {
	s := statusOf(t, name)
	issuer, err := url.Parse(s.Issuer.URL)
	if err != nil {
		t.Fatal(err)
	}
	address, port, _ := strings.Cut(s.Issuer.Address, ":")
	code := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("curl", append([]string{"--silent", "--show-error", "--output", "/dev/null", "--write-out", "%{http_code}"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("curl: %v\n%s", err, out)
		}
		return string(out)
	}
	if c := code("--cacert", s.Issuer.CAFile, "--resolve", issuer.Hostname()+":"+port+":"+address, s.Issuer.URL+"/.well-known/openid-configuration"); c != "200" {
		t.Errorf("the issuer answered %s", c)
	}

	ca := filepath.Join(t.TempDir(), "ca.crt")
	out, err := kubectl(t, s.Clusters[0].Kubeconfig, "config", "view", "--raw", "--output=jsonpath={.clusters[0].cluster.certificate-authority-data}")
	if err != nil {
		t.Fatal(err)
	}
	decode := exec.Command("base64", "-d")
	decode.Stdin = strings.NewReader(out)
	pem, err := decode.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ca, pem, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ user, path, want string }{
		{"admin@example.com", "/api/v1/nodes", "200"},
		{"dev@example.com", "/api/v1/namespaces/demo/pods", "200"},
		{"dev@example.com", "/api/v1/nodes", "403"},
		{"viewer@example.com", "/api/v1/pods", "200"},
		{"viewer@example.com", "/api/v1/secrets", "403"},
		{"guest@example.com", "/api/v1/pods", "403"},
	} {
		token := strings.TrimSpace(must(t, "token", "--name", name, "--user", c.user).stdout)
		if got := code("--cacert", ca, "--header", "Authorization: Bearer "+token, s.Clusters[0].Server+c.path); got != c.want {
			t.Errorf("%s GET %s: %s, want %s", c.user, c.path, got, c.want)
		}
	}
	if got := code("--cacert", ca, s.Clusters[0].Server+"/api/v1/pods"); got != "401" && got != "403" {
		t.Errorf("without a token: %s", got)
	}
	token := strings.TrimSpace(must(t, "token", "--name", name).stdout)
	if got := code("--cacert", ca, "--header", "Authorization: Bearer x"+token, s.Clusters[0].Server+"/api/v1/pods"); got != "401" {
		t.Errorf("with a broken token: %s", got)
	}
	// another client's token is no token for this API server
	token = strings.TrimSpace(must(t, "token", "--name", name, "--client", "demo-app").stdout)
	if got := code("--cacert", ca, "--header", "Authorization: Bearer "+token, s.Clusters[0].Server+"/api/v1/nodes"); got != "401" {
		t.Errorf("with a token for demo-app: %s", got)
	}
}

func TestKubeconfigFlavors(t *testing.T) { onBoth(t, testKubeconfigFlavors) }

func testKubeconfigFlavors(t *testing.T, name string) {
	for _, flavor := range []string{"exec", "token", "admin"} {
		file := filepath.Join(t.TempDir(), flavor)
		text := must(t, "kubeconfig", "--name", name, "--flavor", flavor, "--user", "viewer@example.com").stdout
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"exec": "viewer@example.com", "token": "viewer@example.com", "admin": "kubernetes-admin"}[flavor]
		out, err := kubectl(t, file, "auth", "whoami", "--output=jsonpath={.status.userInfo.username}")
		if err != nil || out != want {
			t.Errorf("%s: kubectl is %q, want %q: %v", flavor, out, want, err)
		}
		if _, err := kubectl(t, file, "get", "secrets", "--all-namespaces"); flavor != "admin" && (err == nil || !strings.Contains(err.Error(), "Forbidden")) {
			t.Errorf("%s: reading secrets gave %v", flavor, err)
		}
	}
}

func TestMergeTouchesOnlyItsOwnEntries(t *testing.T) {
	needShared(t)
	file := filepath.Join(t.TempDir(), "config")
	before := "apiVersion: v1\nkind: Config\ncurrent-context: mine\nclusters:\n- {name: mine, cluster: {server: https://example.com}}\ncontexts:\n- {name: mine, context: {cluster: mine, user: mine}}\nusers:\n- {name: mine, user: {token: t}}\n"
	if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	name := "e2e-merged"
	defer devenv(t, "down", "--name", name)
	// merging needs no cluster of its own: borrow the shared one's folder
	if out, err := exec.Command("cp", "-a", filepath.Join(home, shared), filepath.Join(home, name)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	sed := exec.Command("sed", "-i", `0,/"name": "e2e"/s//"name": "e2e-merged"/`, filepath.Join(home, name, "environment.json"))
	if out, err := sed.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r := runWith(t, []string{"KUBECONFIG=" + file}, "kubeconfig", "--name", name, "--merge")
	r.wants(t, 0, "devenv/e2e-merged/")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "current-context: mine") || !strings.Contains(string(text), "devenv/e2e-merged/") {
		t.Errorf("after the merge:\n%s", text)
	}
	r = runWith(t, []string{"KUBECONFIG=" + file}, "down", "--name", name)
	r.wants(t, 0)
	text, err = os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "devenv") || !strings.Contains(string(text), "name: mine") {
		t.Errorf("after down:\n%s", text)
	}
	must(t, "check", "--name", shared)
}

func TestExecCredentialIsKept(t *testing.T) { onBoth(t, testExecCredentialIsKept) }

func testExecCredentialIsKept(t *testing.T, name string) {
	ask := func(apiVersion string) (token string, expires time.Time) {
		t.Helper()
		r := runWith(t, []string{`KUBERNETES_EXEC_INFO={"apiVersion":"` + apiVersion + `","kind":"ExecCredential","spec":{"interactive":false}}`},
			"token", "--name", name, "--user", "dev@example.com")
		r.wants(t, 0)
		var credential struct {
			APIVersion, Kind string
			Status           struct {
				Token               string
				ExpirationTimestamp time.Time
			}
		}
		if err := json.Unmarshal([]byte(r.stdout), &credential); err != nil {
			t.Fatal(err)
		}
		if credential.APIVersion != apiVersion || credential.Kind != "ExecCredential" {
			t.Errorf("it is a %s %s", credential.APIVersion, credential.Kind)
		}
		return credential.Status.Token, credential.Status.ExpirationTimestamp
	}
	first, expires := ask("client.authentication.k8s.io/v1")
	again, _ := ask("client.authentication.k8s.io/v1beta1")
	if first != again {
		t.Error("the second call logged in again")
	}
	if left := time.Until(expires); left < 30*time.Minute || left >= time.Hour {
		t.Errorf("it is good for %s, not for a little under an hour", left)
	}
}

// The real kubelogin understands what the flavour of its name says. There is
// nobody to look at a browser here: two more arguments have it use the password.
func TestKubelogin(t *testing.T) {
	needPlain(t)
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-trimpath", "-o", filepath.Join(bin, "kubectl-oidc_login"), "github.com/int128/kubelogin")
	build.Dir = filepath.Join("lab", "modules", "kubelogin") // which pins it
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", build, err, out)
	}
	if err := os.Symlink(kubectlPath(t), filepath.Join(bin, "kubectl")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("HOME", bin) // its cache of tokens
	password := passwordOf(t, plain, "viewer@example.com")
	for _, version := range []string{"v1", "v1beta1"} {
		text := must(t, "kubeconfig", "--name", plain, "--flavor", "kubelogin", "--exec-api-version", version).stdout
		asked := strings.Replace(text, "      - get-token\n", "      - get-token\n      - --grant-type=password\n      - --username=viewer@example.com\n      - --password="+password+"\n", 1)
		if asked == text || !strings.Contains(text, "client.authentication.k8s.io/"+version+"\n") {
			t.Fatalf("the kubeconfig is\n%s", text)
		}
		out, err := kubectl(t, write(t, "kubeconfig", asked), "auth", "whoami", "--output=jsonpath={.status.userInfo.username}")
		if err != nil || out != "viewer@example.com" {
			t.Errorf("%s: %q, %v", version, out, err)
		}
	}
}

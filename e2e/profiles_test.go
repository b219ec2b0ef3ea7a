package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// onEach makes an environment of a profile on each runtime, both at once, and
// runs a test on them.
func onEach(t *testing.T, profile string, test func(t *testing.T, name string)) {
	t.Helper()
	runtimes := []string{"process", "kind"}
	results := make([]result, len(runtimes))
	var group sync.WaitGroup
	for i, runtime := range runtimes {
		group.Go(func() {
			results[i] = devenv(t, "up", "--name", "e2e-"+profile[:4]+"-"+runtime, "--profile", profile, "--runtime", runtime, "--timeout", "4m")
		})
	}
	group.Wait()
	for i, runtime := range runtimes {
		name := "e2e-" + profile[:4] + "-" + runtime
		t.Run(runtime, func(t *testing.T) {
			defer must(t, "down", "--name", name)
			results[i].wants(t, 0, "ready and proven")
			test(t, name)
		})
	}
}

// write puts text into a file of the test.
func write(t *testing.T, name, text string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestPalette(t *testing.T) {
	const user = "oidc-demo-user@example.com"
	onEach(t, "palette", func(t *testing.T, name string) {
		issuer := statusOf(t, name).Issuer.URL
		devenv(t, "check", "--name", name).wants(t, 0,
			`✓ the token of `+user+` has aud="kubernetes"`,
			`✓ the token of `+user+` has email="`+user+`"`,
			`✓ the token of `+user+` has email_verified=true`,
			`✓ the token of `+user+` has iss="`+issuer+`"`,
			"✓ "+user+" lists with kubectl: list pods", ", 0 failed")
		var claims struct{ Iat, Exp int64 }
		if err := json.Unmarshal([]byte(must(t, "token", "--name", name, "--output", "claims").stdout), &claims); err != nil {
			t.Fatal(err)
		}
		if lifetime := claims.Exp - claims.Iat; lifetime != 8*3600 {
			t.Errorf("a token is good for %d seconds", lifetime)
		}
		kubeconfig := write(t, "kubeconfig", must(t, "kubeconfig", "--name", name, "--flavor", "token").stdout)
		if _, err := kubectl(t, kubeconfig, "get", "pods", "--all-namespaces"); err != nil {
			t.Error(err)
		}
	})
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

// secrets are what the environment's record has and no command shows.
type secrets struct {
	Profile struct {
		Spec struct {
			Dex struct {
				Users   []struct{ Email, Password string }
				Clients []struct{ ID, Secret string }
			}
		}
	}
}

func secretsOf(t *testing.T, name string) (s secrets) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(home, name, "environment.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func passwordOf(t *testing.T, name, email string) string {
	t.Helper()
	for _, u := range secretsOf(t, name).Profile.Spec.Dex.Users {
		if u.Email == email {
			return u.Password
		}
	}
	t.Fatalf("there is no user %s", email)
	return ""
}

func TestPasswordGrant(t *testing.T) {
	onEach(t, "password-grant", func(t *testing.T, name string) {
		s := statusOf(t, name)
		devenv(t, "check", "--name", name).wants(t, 0,
			"✓ user@example.com lists with kubectl: list services",
			"✓ rejected: tampered",
			"✓ rejected: e-mail of unverified@example.com not verified  (401, oidc: email not verified)", ", 0 failed")

		// by plain HTTP, as the integration does it
		host, port, _ := strings.Cut(strings.TrimPrefix(s.Issuer.URL, "https://"), ":")
		address, _, _ := strings.Cut(s.Issuer.Address, ":")
		out, err := exec.CommandContext(t.Context(), "curl", "--silent", "--show-error", "--cacert", s.Issuer.CAFile,
			"--resolve", host+":"+port+":"+address, s.Issuer.URL+"/token",
			"--data", "grant_type=password", "--data", "scope=openid email", "--data", "client_id=kubernetes",
			"--data-urlencode", "client_secret="+secretsOf(t, name).Profile.Spec.Dex.Clients[0].Secret,
			"--data", "username=user@example.com", "--data-urlencode", "password="+passwordOf(t, name, "user@example.com")).CombinedOutput()
		var answer struct {
			IDToken string `json:"id_token"`
		}
		if err != nil || json.Unmarshal(out, &answer) != nil || answer.IDToken == "" {
			t.Fatalf("curl: %v\n%s", err, out)
		}
		text := must(t, "kubeconfig", "--name", name, "--flavor", "token").stdout
		static := write(t, "static", replaceToken(text, answer.IDToken))
		if _, err := kubectl(t, static, "get", "services"); err != nil {
			t.Error(err)
		}
		changed := write(t, "changed", replaceToken(text, answer.IDToken[:len(answer.IDToken)-10]+"A"+answer.IDToken[len(answer.IDToken)-9:]))
		if _, err := kubectl(t, changed, "get", "services"); err == nil || !strings.Contains(err.Error(), "Unauthorized") && !strings.Contains(err.Error(), "must be logged in") {
			t.Errorf("with one byte changed: %v", err)
		}
		for _, version := range []string{"v1", "v1beta1"} {
			text := must(t, "kubeconfig", "--name", name, "--exec-api-version", version).stdout
			if !strings.Contains(text, "client.authentication.k8s.io/"+version+"\n") {
				t.Errorf("the kubeconfig is not for %s:\n%s", version, text)
			}
			if _, err := kubectl(t, write(t, version, text), "get", "services"); err != nil {
				t.Errorf("%s: %v", version, err)
			}
		}
	})
}

func replaceToken(kubeconfig, token string) string {
	before, after, _ := strings.Cut(kubeconfig, "token: ")
	_, rest, _ := strings.Cut(after, "\n")
	return before + "token: " + token + "\n" + rest
}

// When its token has expired, a static kubeconfig fails, and one with a
// credential program goes on.
func TestExpiry(t *testing.T) {
	t.Parallel()
	const name = "e2e-expiry"
	must(t, "up", "--name", name, "--profile", "password-grant", "--runtime", "process", "--set", "spec.dex.idTokenLifetime=1m")
	defer must(t, "down", "--name", name)
	static := write(t, "static", must(t, "kubeconfig", "--name", name, "--flavor", "token").stdout)
	program := write(t, "program", must(t, "kubeconfig", "--name", name).stdout)
	for _, kubeconfig := range []string{static, program} {
		if _, err := kubectl(t, kubeconfig, "get", "services"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the end of a token of one minute", 90*time.Second, func() error {
		_, err := kubectl(t, static, "get", "services")
		if err == nil {
			return fmt.Errorf("it is accepted")
		}
		return nil
	})
	if _, err := kubectl(t, static, "get", "services"); err == nil || !strings.Contains(err.Error(), "logged in") && !strings.Contains(err.Error(), "Unauthorized") {
		t.Errorf("with the old token: %v", err)
	}
	if _, err := kubectl(t, program, "get", "services"); err != nil {
		t.Errorf("the program did not get another token: %v", err)
	}
}

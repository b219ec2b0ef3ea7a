package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestWrongLogins(t *testing.T) { onBoth(t, testWrongLogins) }

func testWrongLogins(t *testing.T, name string) {
	devenv(t, "token", "--name", name, "--user", "dave@example.com").wants(t, 2, `there is no user "dave@example.com"`, "did you mean dev@example.com?")
	devenv(t, "token", "--name", name, "--client", "demo").wants(t, 2, `there is no client "demo"`, "demo-app")
	r := runWith(t, []string{"DEVENV_PASSWORD=wrong"}, "token", "--name", name)
	r.wants(t, 5, "the issuer rejected the login of admin@example.com", "Invalid username or password", "hint: ")
	if r.stdout != "" {
		t.Errorf("stdout: %s", r.stdout)
	}
	devenv(t, "kubeconfig", "--name", name, "--cluster", "other").wants(t, 2, `there is no cluster "other"`, "main")
	devenv(t, "status", "--name", "e2f").wants(t, 2, `there is no environment "e2f"`, "did you mean devenv --name e2e?")
}

func TestBrowserGrant(t *testing.T) {
	needPlain(t)
	dev := person{"dev@example.com", passwordOf(t, plain, "dev@example.com")}
	environ := []string{"BROWSER=" + dev.asBrowser(t)}
	r := runWith(t, environ, "token", "--name", plain, "--grant", "browser", "--output", "claims", "--timeout", "1m")
	r.wants(t, 0, "log in in the browser that opens, or at https://localhost:", "code_challenge_method=S256")
	if got := emailIn(t, r.stdout); got != "dev@example.com" {
		t.Errorf("the token is of %q", got)
	}
	runWith(t, environ, "token", "--name", plain, "--grant", "browser", "--user", "admin@example.com", "--timeout", "1m").
		wants(t, 5, "error: dev@example.com logged in, and not admin@example.com")
	runWith(t, environ, "token", "--name", plain, "--grant", "browser", "--client", "demo-app", "--timeout", "1m").wants(t, 0)

	nobody := []string{"BROWSER=/bin/true"}
	runWith(t, nobody, "token", "--name", plain, "--grant", "browser", "--timeout", "2s").
		wants(t, 4, "the limit of 2s was reached while waiting for the login in the browser", "hint: give it more time")
	devenv(t, "token", "--name", plain, "--grant", "client-credentials").wants(t, 2, "error: Dex v2.45.1 has no grant client-credentials", "hint: the grants are: password, browser, device")
	devenv(t, "token", "--name", plain, "--grant", "device", "--client", "demo-app").
		wants(t, 2, `error: the client "demo-app" cannot be used for the grant device: it needs the redirect URI "/device/callback"`, "hint: ")
}

func TestDeviceGrant(t *testing.T) {
	needPlain(t)
	dev := person{"dev@example.com", passwordOf(t, plain, "dev@example.com")}
	c := exec.CommandContext(t.Context(), binary, "token", "--name", plain, "--grant", "device", "--output", "claims", "--timeout", "1m")
	var out bytes.Buffer
	c.Stdout = &out
	pipe, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var address, code string
	if _, err := fmt.Fscanf(pipe, "log in at %s with the code %s\n", &address, &code); err != nil {
		t.Fatal(err)
	}
	client := dev.client()
	response, err := client.PostForm(strings.TrimSuffix(address, "/device")+"/device/auth/verify_code", url.Values{"user_code": {code}})
	if err != nil {
		t.Fatal(err)
	}
	if page, err := dev.fill(client, response); err != nil || !strings.Contains(page, "Login Successful") {
		t.Errorf("the last page is %s, %v", page, err)
	}
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := emailIn(t, out.String()); got != "dev@example.com" {
		t.Errorf("the token is of %q", got)
	}
}

// kubectl gets another token by the refresh token, with nobody at the browser.
func TestRefreshToken(t *testing.T) {
	t.Parallel()
	const name = "e2e-refresh"
	must(t, "up", "--name", name, "--runtime", "process", "--set", "spec.dex.idTokenLifetime=1m")
	defer must(t, "down", "--name", name)
	viewer := person{"viewer@example.com", passwordOf(t, name, "viewer@example.com")}
	text := must(t, "kubeconfig", "--name", name, "--user", "viewer@example.com", "--grant", "browser").stdout
	kubeconfig := write(t, "kubeconfig", text)
	ask := func(browser string) (token string) {
		t.Helper()
		c := exec.CommandContext(t.Context(), kubectlPath(t), "auth", "whoami", "--output=jsonpath={.status.userInfo.username}")
		c.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "BROWSER="+browser)
		out, err := c.Output()
		if err != nil || string(out) != "viewer@example.com" {
			t.Fatalf("kubectl: %q, %v", out, err)
		}
		files, err := filepath.Glob(filepath.Join(home, name, "tokens", "*"))
		if err != nil || len(files) != 1 {
			t.Fatalf("%v, %v", files, err)
		}
		var kept struct{ ID, Refresh string }
		content, err := os.ReadFile(files[0])
		if err != nil || json.Unmarshal(content, &kept) != nil || kept.Refresh == "" {
			t.Fatalf("%s, %v", content, err)
		}
		return kept.ID
	}
	first := ask(viewer.asBrowser(t))
	if ask("/bin/false") != first {
		t.Error("the token was not kept")
	}
	eventually(t, "another token", 90*time.Second, func() error {
		if ask("/bin/false") == first {
			return fmt.Errorf("it is the first one")
		}
		return nil
	})
}

func emailIn(t *testing.T, claims string) string {
	t.Helper()
	var c struct{ Email string }
	if err := json.Unmarshal([]byte(claims), &c); err != nil {
		t.Fatalf("%v: %s", err, claims)
	}
	return c.Email
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

func replaceToken(kubeconfig, token string) string {
	before, after, _ := strings.Cut(kubeconfig, "token: ")
	_, rest, _ := strings.Cut(after, "\n")
	return before + "token: " + token + "\n" + rest
}

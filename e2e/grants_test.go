package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// browser is what the test program is called by when it plays a person at a
// browser: it goes to the URL, fills in Dex's form and follows where that leads.
const browser = "e2e-browser"

func browse() {
	// for a while the person is a program that reads its orders from there
	text, err := os.ReadFile(filepath.Join(filepath.Dir(os.Args[0]), "person.json"))
	if err != nil {
		panic(err)
	}
	var p person
	if err := json.Unmarshal(text, &p); err != nil {
		panic(err)
	}
	if _, err := p.visit(os.Args[1]); err != nil {
		panic(err)
	}
	os.Exit(0)
}

// person logs in at Dex's pages.
type person struct{ Email, Password string }

// asBrowser makes a program to be named by $BROWSER, which logs the person in.
func (p person) asBrowser(t *testing.T) (path string) {
	t.Helper()
	folder := t.TempDir()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "person.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(folder, browser)
	// a copy and not a link: it finds its orders beside it
	content, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

var hidden = regexp.MustCompile(`name="(req|state|hmac)" value="([^"]*)"`)

// visit goes to a page, logs in where that is asked for, and returns the last
// page.
func (p person) visit(address string) (page string, err error) {
	client := p.client()
	response, err := client.Get(address)
	if err != nil {
		return "", err
	}
	return p.fill(client, response)
}

func (p person) client() *http.Client {
	jar, _ := cookiejar.New(nil)
	return &http.Client{Jar: jar, Timeout: 20 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) { // as browsers do with names below localhost
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
		},
	}}
}

// fill fills in Dex's login form, if a page has it.
func (p person) fill(client *http.Client, response *http.Response) (page string, err error) {
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil || !bytes.Contains(body, []byte(`name="password"`)) {
		return string(body), err
	}
	form := url.Values{"login": {p.Email}, "password": {p.Password}}
	for _, field := range hidden.FindAllStringSubmatch(string(body), -1) {
		form.Set(field[1], field[2])
	}
	response, err = client.PostForm(response.Request.URL.String(), form)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	return string(body), err
}

func emailIn(t *testing.T, claims string) string {
	t.Helper()
	var c struct{ Email string }
	if err := json.Unmarshal([]byte(claims), &c); err != nil {
		t.Fatalf("%v: %s", err, claims)
	}
	return c.Email
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

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
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

var hidden = regexp.MustCompile(`name="(req|state|hmac)" value="([^"]*)"`)

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

package share

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// provider stands for Dex: the handler is what is tried here, in its wrong
// uses; the right one is tried in a browser, end to end.
type provider struct{ exchanged []string }

func (p *provider) Begin(_ context.Context, cluster string) (Login, string, error) {
	if cluster != "main" {
		return Login{}, "", errors.New("there is no cluster " + cluster)
	}
	return Login{State: "S", Nonce: "N", Verifier: "secret-verifier", Cluster: cluster}, "https://dex.example/auth?state=S", nil
}

func (p *provider) Kubeconfig(_ context.Context, l Login, code string) (string, []byte, error) {
	p.exchanged = append(p.exchanged, l.Verifier+" "+code)
	if code == "bad" {
		return "", nil, errors.New("refused")
	}
	return "user@example.com", []byte("kind: Config\n"), nil
}

func TestHandler(t *testing.T) {
	p := &provider{}
	var failures []error
	server := httptest.NewTLSServer(Handler("/kubeconfig", p, func(err error) { failures = append(failures, err) }))
	defer server.Close()
	client := server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	get := func(path string, cookies ...*http.Cookie) (*http.Response, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cookies {
			request.AddCookie(c)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		return response, string(body)
	}

	began, _ := get("/kubeconfig?cluster=main")
	if began.StatusCode != http.StatusSeeOther || began.Header.Get("Location") != "https://dex.example/auth?state=S" || len(began.Cookies()) != 1 {
		t.Fatalf("%s, %v", began.Status, began.Header)
	}
	c := began.Cookies()[0]
	if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || !strings.HasPrefix(c.Name, "__Host-") {
		t.Errorf("the cookie is %v", c)
	}
	if strings.Contains(c.Value, "secret") {
		t.Error("the cookie can be read")
	}
	changed := *c
	changed.Value = c.Value[:len(c.Value)-2] + "AA"
	for name, try := range map[string]func() (*http.Response, string){
		"no cookie":        func() (*http.Response, string) { return get("/kubeconfig?state=S&code=x") },
		"another state":    func() (*http.Response, string) { return get("/kubeconfig?state=T&code=x", c) },
		"no state":         func() (*http.Response, string) { return get("/kubeconfig?code=x", c) },
		"a changed cookie": func() (*http.Response, string) { return get("/kubeconfig?state=S&code=x", &changed) },
		"a refusal":        func() (*http.Response, string) { return get("/kubeconfig?state=S&error=access_denied", c) },
	} {
		if response, body := try(); response.StatusCode != http.StatusForbidden || strings.Contains(body, "Config") {
			t.Errorf("%s: %s %s", name, response.Status, body)
		}
	}
	if len(p.exchanged) != 0 {
		t.Errorf("what was rejected was exchanged: %v", p.exchanged)
	}
	if response, _ := get("/kubeconfig?cluster=other"); response.StatusCode != http.StatusNotFound {
		t.Errorf("another cluster: %s", response.Status)
	}
	if response, body := get("/kubeconfig?state=S&code=bad", c); response.StatusCode != http.StatusBadGateway || len(failures) != 1 || strings.Contains(body, "refused") {
		t.Errorf("a code that Dex rejects: %s, %v, %s", response.Status, failures, body)
	}
	response, body := get("/kubeconfig?state=S&code=good", c)
	if response.StatusCode != http.StatusOK || body != "kind: Config\n" || p.exchanged[1] != "secret-verifier good" {
		t.Errorf("%s %s, %v", response.Status, body, p.exchanged)
	}
	if got := response.Header.Get("Content-Disposition"); got != `attachment; filename="kubeconfig-main-user@example.com"` {
		t.Error(got)
	}
	if cleared := response.Cookies(); len(cleared) != 1 || cleared[0].MaxAge >= 0 {
		t.Errorf("the cookie stays: %v", cleared)
	}
	if response.Header.Get("Cache-Control") != "no-store" {
		t.Error("it may be kept by caches")
	}
}

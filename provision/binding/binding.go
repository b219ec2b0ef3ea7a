// Package binding logs in at a backend that speaks kube-bind's protocol, as
// `kubectl bind` and a browser do: /export names the page that a login begins at,
// /callback sets the session's cookie, /resources lists the APIs, and /bind sends
// the browser to the client's redirect URL with a kubeconfig
// (anynines/klutchio, bind/contrib/example-backend/http/handler.go).
package binding

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
)

// Backend is where and how to log in.
type Backend struct {
	URL string
	// HTTP reaches the backend and the issuer, and trusts both.
	HTTP *http.Client
	// Cookie is the prefix of the session's cookie.
	Cookie string
}

// Session is a login at a backend.
type Session struct {
	ID     string
	Cookie string
	// Page is the one that the login ended at: /resources.
	Page string
}

// Response is what /bind sends to the client's redirect URL.
type Response struct {
	Kind           string `json:"kind"`
	Authentication struct {
		OAuth2CodeGrant struct {
			SessionID string `json:"sessionID"`
			ID        string `json:"id"`
		} `json:"oauth2CodeGrant"`
	} `json:"authentication"`
	// Kubeconfig of the consumer's namespace.
	Kubeconfig []byte `json:"kubeconfig"`
}

// StatusError is an answer that is none.
type StatusError struct {
	Path string
	Code int
	Text string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s answers %d: %s", e.Path, e.Code, e.Text)
}

// RejectedError says that the issuer's page did not let the user in.
type RejectedError struct{ Email string }

func (e *RejectedError) Error() string {
	return "the issuer's login page rejected " + e.Email
}

// redirect is where /bind answers to. Nobody listens there: the answer is in the
// URL.
const redirect = "http://localhost:1/callback"

// sizeLimit of a page, in bytes.
const sizeLimit = 1 << 20

// LoginPage is the URL at which the backend says that a login begins.
func (b Backend) LoginPage(ctx context.Context) (string, error) {
	response, body, err := get(ctx, b.HTTP, b.URL+"/export", nil)
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", statusError("/export", response, body)
	}
	var provider struct {
		Methods []struct {
			Method string
			Grant  struct {
				URL string `json:"authenticatedURL"`
			} `json:"oauth2CodeGrant"`
		} `json:"authenticationMethods"`
	}
	if err := json.Unmarshal(body, &provider); err != nil {
		return "", fmt.Errorf("/export: %w", err)
	}
	for _, m := range provider.Methods {
		if m.Method == "OAuth2CodeGrant" && m.Grant.URL != "" {
			return m.Grant.URL, nil
		}
	}
	return "", errors.New("/export names no method OAuth2CodeGrant with an authenticatedURL")
}

// Login begins at the login page, fills in the form of the issuer that follows,
// and ends at /resources.
func (b Backend) Login(ctx context.Context, loginPage, email, password string) (*Session, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	client := *b.HTTP
	client.Jar = jar
	id := rand.Text()
	start := loginPage + "?" + url.Values{"u": {redirect}, "s": {id}, "c": {"devenv"}}.Encode()
	response, body, err := get(ctx, &client, start, nil)
	if err != nil {
		return nil, err
	}
	if !asksForPassword(body) {
		return nil, statusError(response.Request.URL.Path, response, body)
	}
	form := strings.NewReader(url.Values{"login": {email}, "password": {password}}.Encode())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, response.Request.URL.String(), form)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, body, err = send(&client, request)
	if err != nil {
		return nil, err
	}
	if asksForPassword(body) {
		return nil, &RejectedError{email}
	}
	if response.StatusCode != http.StatusOK || response.Request.URL.Path != "/resources" {
		return nil, statusError(response.Request.URL.Path, response, body)
	}
	for _, cookie := range jar.Cookies(response.Request.URL) {
		if cookie.Name == b.Cookie+id {
			return &Session{ID: id, Cookie: cookie.Value, Page: string(body)}, nil
		}
	}
	return nil, fmt.Errorf("the backend set no cookie %s…", b.Cookie)
}

func asksForPassword(page []byte) bool { return strings.Contains(string(page), `name="password"`) }

// Bind asks for an API with the cookie of a session; without one where cookie is
// empty. What the backend refuses is a *StatusError.
func (b Backend) Bind(ctx context.Context, session, cookie, group, resource string) (*Response, error) {
	client := *b.HTTP
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	var sent *http.Cookie
	if cookie != "" {
		sent = &http.Cookie{Name: b.Cookie + session, Value: cookie}
	}
	response, body, err := get(ctx, &client, b.URL+"/bind?"+url.Values{"s": {session}, "group": {group}, "resource": {resource}}.Encode(), sent)
	if err != nil {
		return nil, err
	}
	to, locationErr := response.Location()
	if response.StatusCode != http.StatusFound || locationErr != nil {
		return nil, statusError("/bind", response, body)
	}
	if !strings.HasPrefix(to.String(), redirect+"?") {
		return nil, fmt.Errorf("/bind sends the browser to %s://%s%s, not to %s", to.Scheme, to.Host, to.Path, redirect) // its query has the kubeconfig
	}
	text, err := base64.URLEncoding.DecodeString(to.Query().Get("response"))
	if err != nil {
		return nil, fmt.Errorf("the response of /bind: %w", err)
	}
	var answer Response
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("the response of /bind: %w", err)
	}
	if answer.Authentication.OAuth2CodeGrant.SessionID != session {
		return nil, errors.New("the response of /bind is for another session")
	}
	return &answer, nil
}

func get(ctx context.Context, client *http.Client, address string, cookie *http.Cookie) (*http.Response, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, err
	}
	if cookie != nil {
		request.AddCookie(cookie)
	}
	return send(client, request)
}

func send(client *http.Client, request *http.Request) (*http.Response, []byte, error) {
	response, err := client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, sizeLimit))
	return response, body, err
}

func statusError(path string, response *http.Response, body []byte) error {
	text, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	return &StatusError{path, response.StatusCode, text}
}

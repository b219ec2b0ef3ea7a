package identity

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/devenv-oidc/devenv/profiles"
)

func TestTokenAsksAsRFC6749Says(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		_ = r.ParseForm()
		switch {
		case r.URL.Path != "/token" || r.Form.Get("grant_type") != "password":
			http.NotFound(w, r)
		case id != "app" || secret != "p%25s": // form-encoded, section 2.3.1
			http.Error(w, "who is "+id+" "+secret, http.StatusTeapot)
		case r.Form.Get("password") != "right":
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":"access_denied","error_description":"Invalid username or password"}`))
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"access_token":"a","token_type":"bearer","id_token":"` + r.Form.Get("scope") + `"}`))
		}
	}))
	defer server.Close()
	login := Login{Issuer: server.URL, HTTP: server.Client(), Client: profiles.Client{ID: "app", Secret: "p%s"}}
	token, err := login.Password(t.Context(), "a@example.com", "right")
	if err != nil || token.ID != "openid email profile groups" {
		t.Errorf("%q, %v", token, err)
	}
	var refused *LoginError
	if _, err = login.Password(t.Context(), "a@example.com", "wrong"); !errors.As(err, &refused) || refused.Code != "access_denied" || !strings.Contains(err.Error(), "a@example.com") {
		t.Errorf("%v", err)
	}
	login.Client.Secret = "wrong"
	if _, err = login.Password(t.Context(), "a@example.com", "right"); err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), "418") {
		t.Errorf("%v", err)
	}
}

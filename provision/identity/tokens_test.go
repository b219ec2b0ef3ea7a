package identity

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/devenv-oidc/devenv/profiles"
)

func TestTokenAsksAsRFC6749Says(t *testing.T) {
	asked := 0
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		_ = r.ParseForm()
		switch {
		case r.URL.Path == "/.well-known/openid-configuration": // no path is where Dex has it
			asked++
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"issuer":%q,"token_endpoint":%q,"scopes_supported":["openid","email","profile"]}`, server.URL, server.URL+"/protocol/token")
		case r.URL.Path != "/protocol/token" || r.Form.Get("grant_type") != "password":
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
	login := Login{Provider: NewProvider(server.URL, server.Client()), Client: profiles.Client{ID: "app", Secret: "p%s"}}
	token, err := login.Password(t.Context(), "a@example.com", "right")
	if err != nil || token.ID != "openid email profile" {
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
	if asked != 1 {
		t.Errorf("the discovery document was asked for %d times", asked)
	}
	// what asks for a secret in the body gets it there
	if style := (metadata{TokenAuthMethods: []string{"client_secret_post"}}).endpoint("x").AuthStyle; style != oauth2.AuthStyleInParams {
		t.Errorf("style %v", style)
	}
	if style := (metadata{}).endpoint("").AuthStyle; style != oauth2.AuthStyleInParams { // else it would not say who it is
		t.Errorf("style of a public client %v", style)
	}
}

// Package share serves kubeconfigs to whoever logs in: a link leads to the
// provider's login page and from there back to a download, as Kubermatic's
// kubeconfig endpoint does.
package share

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/securecookie"
)

// Login is one login that is under way. It goes to the browser and back in a
// cookie that is encrypted, so that nothing is stored here.
type Login struct {
	// State that the provider's answer must have.
	State string
	// Secrets that the exchange of the code needs.
	Nonce, Verifier string
	// Cluster whose kubeconfig was asked for.
	Cluster string
}

// Provider is the OpenID Connect provider and what comes of a login there.
type Provider interface {
	// Begin starts a login for a cluster; url is the login page. A cluster that
	// does not exist is an error.
	Begin(ctx context.Context, cluster string) (login Login, url string, err error)
	// Kubeconfig ends a login: the code becomes a kubeconfig for whoever logged
	// in, user.
	Kubeconfig(ctx context.Context, login Login, code string) (user string, kubeconfig []byte, err error)
}

// cookieName has the prefix by which browsers take the cookie from this very
// host alone, and over TLS only (RFC 6265bis, section 4.1.3).
const cookieName = "__Host-devenv-share"

// loginLimit is how long somebody may take to log in.
const loginLimit = 10 * time.Minute

// Handler serves one path, which is the link and, with the provider's answer,
// the redirect URI. Cookies are signed and encrypted with keys of this handler
// alone.
func Handler(path string, provider Provider, failed func(error)) http.Handler {
	cookies := securecookie.New(key(), key()).MaxAge(int(loginLimit.Seconds()))
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
		} {
			w.Header().Set(name, value)
		}
		query := r.URL.Query()
		if query.Has("state") || query.Has("code") || query.Has("error") {
			end(w, r, cookies, provider, failed)
			return
		}
		login, url, err := provider.Begin(r.Context(), query.Get("cluster"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		value, err := cookies.Encode(cookieName, login)
		if err != nil {
			failed(err)
			http.Error(w, "the login could not be started; see the terminal", http.StatusInternalServerError)
			return
		}
		http.SetCookie(w, cookie(value, int(loginLimit.Seconds())))
		http.Redirect(w, r, url, http.StatusSeeOther)
	})
	return mux
}

// end takes the provider's answer. It counts only in the browser that began the
// login, and once.
func end(w http.ResponseWriter, r *http.Request, cookies *securecookie.SecureCookie, provider Provider, failed func(error)) {
	query := r.URL.Query()
	var login Login
	sent, err := r.Cookie(cookieName)
	if err == nil {
		err = cookies.Decode(cookieName, sent.Value, &login)
	}
	if err != nil || subtle.ConstantTimeCompare([]byte(login.State), []byte(query.Get("state"))) != 1 {
		http.Error(w, "this is no answer to a login that began in this browser; open the link again", http.StatusForbidden)
		return
	}
	http.SetCookie(w, cookie("", -1))
	if code := query.Get("error"); code != "" {
		http.Error(w, fmt.Sprintf("the login was rejected: %s: %s", code, query.Get("error_description")), http.StatusForbidden)
		return
	}
	user, kubeconfig, err := provider.Kubeconfig(r.Context(), login, query.Get("code"))
	if err != nil {
		failed(err)
		http.Error(w, "the login did not go through; see the terminal", http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", "kubeconfig-"+login.Cluster+"-"+user))
	_, _ = w.Write(kubeconfig)
}

func cookie(value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: cookieName, Value: value, MaxAge: maxAge, Path: "/",
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode, // the answer comes from another site's page
	}
}

func key() []byte {
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails (crypto/rand)
	return random
}

package identity

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Browser has the user log in with a browser, at a URL that open is told: by an
// authorization code with PKCE (RFC 6749, section 4.1, and RFC 7636),
// which comes back to a port of the loopback (RFC 8252, section 7.3).
func (l Login) Browser(ctx context.Context, open func(url string)) (Tokens, error) {
	listener, redirect, err := l.listen()
	if err != nil {
		return Tokens{}, err
	}
	code := NewCode(redirect.String())
	url, err := l.CodeURL(ctx, code)
	if err != nil {
		return Tokens{}, errors.Join(err, listener.Close())
	}
	answers := make(chan callback, 1)
	server := &http.Server{Handler: callbackHandler(redirect.Path, code.State, answers), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = server.Shutdown(closing) // so that the browser gets its page
	}()
	open(url)

	var answer callback
	select {
	case answer = <-answers:
	case <-ctx.Done():
		return Tokens{}, fmt.Errorf("%w while waiting for the login in the browser", context.Cause(ctx))
	}
	if answer.err != nil {
		return Tokens{}, answer.err
	}
	return l.Exchange(ctx, code, answer.code)
}

// listen opens the first redirect URI of the client that is on the loopback and
// whose port is free. A public client that names none may use any port.
func (l Login) listen() (net.Listener, *url.URL, error) {
	uris := l.Client.RedirectURIs
	if l.Client.Public && len(uris) == 0 {
		uris = []string{"http://localhost:0/callback"}
	}
	var failed error
	for _, text := range uris {
		uri, err := url.Parse(text)
		if err != nil || uri.Scheme != "http" || !loopbackHost(uri.Hostname()) || uri.Port() == "" {
			continue
		}
		host := "127.0.0.1"
		if net.ParseIP(uri.Hostname()) != nil {
			host = uri.Hostname()
		}
		listener, err := net.Listen("tcp", net.JoinHostPort(host, uri.Port()))
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("could not listen for the redirect URI %s: %w", text, err))
			continue
		}
		if uri.Port() == "0" {
			uri.Host = fmt.Sprintf("localhost:%d", listener.Addr().(*net.TCPAddr).Port)
		}
		return listener, uri, nil
	}
	if failed == nil {
		failed = &GrantError{Client: l.Client.ID, Grant: "browser", Needs: "a redirect URI with a port on this machine, such as http://localhost:8000"}
	}
	return nil, nil, failed
}

func loopbackHost(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// callback is what the browser brings back.
type callback struct {
	code string
	err  error
}

// callbackHandler takes the first answer that is for this login; what has
// another state is somebody else's.
func callbackHandler(path, state string, answers chan<- callback) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		if strings.Trim(r.URL.Path, "/") != strings.Trim(path, "/") || query.Get("state") != state {
			http.Error(w, "this is no answer to the login that is under way", http.StatusBadRequest)
			return
		}
		answer := callback{code: query.Get("code")}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if code := query.Get("error"); code != "" || answer.code == "" {
			answer.err = &LoginError{Who: "whoever used the browser", Code: code, Description: query.Get("error_description")}
			fmt.Fprintln(w, "The login was rejected; see the terminal.")
		} else {
			fmt.Fprintln(w, "You are logged in. You can close this page.")
		}
		select {
		case answers <- answer:
		default: // the first one counts
		}
	})
}

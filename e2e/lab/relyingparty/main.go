// Command relyingparty stands in the place of the Klutch backend where its image
// is not to be had. It takes the backend's arguments and does with them what the
// backend does with OpenID Connect: discovery, the redirect to the login page,
// the exchange of the code at /callback; and it takes tokens that are for its
// client. It offers nothing to bind.
//
// As `relyingparty konnector` it stands in the konnector's place: it asks its
// own cluster for its version, and stays.
package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/gorilla/securecookie"
	"golang.org/x/oauth2"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) == 2 && os.Args[1] == "konnector" {
		err = konnector(ctx)
	} else {
		err = backend(ctx, os.Args[1:])
	}
	if err != nil {
		log.Fatal(err)
	}
}

// options are the backend's, as far as they say something.
type options struct {
	clientID, clientSecret, issuer, callback string
	listen, signingKey, encryptionKey        string
	externalAddress, externalCAFile          string
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("relyingparty", flag.ContinueOnError)
	for name, to := range map[string]*string{
		"oidc-issuer-client-id": &o.clientID, "oidc-issuer-client-secret": &o.clientSecret,
		"oidc-issuer-url": &o.issuer, "oidc-callback-url": &o.callback, "listen-address": &o.listen,
		"cookie-signing-key": &o.signingKey, "cookie-encryption-key": &o.encryptionKey,
		"external-address": &o.externalAddress, "external-ca-file": &o.externalCAFile,
		"namespace-prefix": new(string), "pretty-name": new(string), "consumer-scope": new(string),
	} {
		flags.StringVar(to, name, "", "as the backend's")
	}
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	for name, value := range map[string]string{
		"oidc-issuer-client-id": o.clientID, "oidc-issuer-client-secret": o.clientSecret, "oidc-issuer-url": o.issuer,
		"oidc-callback-url": o.callback, "listen-address": o.listen, "external-address": o.externalAddress, "external-ca-file": o.externalCAFile,
	} {
		if value == "" {
			return o, fmt.Errorf("--%s is empty", name)
		}
	}
	return o, nil
}

type party struct {
	oauth2.Config
	verifier *oidc.IDTokenVerifier
	cookies  *securecookie.SecureCookie
}

func backend(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	signing, signingErr := key("cookie-signing-key", o.signingKey)
	encryption, encryptionErr := key("cookie-encryption-key", o.encryptionKey)
	if err := errors.Join(signingErr, encryptionErr); err != nil {
		return err
	}
	if err := reach(ctx, o.externalAddress, o.externalCAFile); err != nil {
		return err
	}
	provider, err := oidc.NewProvider(ctx, o.issuer)
	if err != nil {
		return fmt.Errorf("discovery: %w", err)
	}
	p := &party{
		Config: oauth2.Config{
			ClientID: o.clientID, ClientSecret: o.clientSecret, RedirectURL: o.callback, Endpoint: provider.Endpoint(),
			Scopes: []string{oidc.ScopeOpenID, "profile", "email", "offline_access"},
		},
		verifier: provider.Verifier(&oidc.Config{ClientID: o.clientID}), cookies: securecookie.New(signing, encryption),
	}
	server := &http.Server{Addr: o.listen, Handler: p.routes(), ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	log.Printf("%s reaches its issuer %s and its API server %s", o.clientID, o.issuer, o.externalAddress)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func key(name, text string) ([]byte, error) {
	value, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(value) != 32 {
		return nil, fmt.Errorf("--%s is not 32 bytes in base64", name)
	}
	return value, nil
}

// reach asks an API server for its version, and trusts one authority alone.
func reach(ctx context.Context, address, caFile string) error {
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return fmt.Errorf("%s holds no certificate", caFile)
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/version", nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("the API server: %w", err)
	}
	return response.Body.Close()
}

const cookieName = "relyingparty"

func (p *party) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /export", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"kind": "BindingProvider", "authenticationMethods": []any{map[string]any{
				"method":          "OAuth2CodeGrant",
				"oauth2CodeGrant": map[string]any{"authenticatedURL": strings.TrimSuffix(p.RedirectURL, "/callback") + "/authorize"},
			}},
		})
	})
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		state := rand.Text()
		value, err := p.cookies.Encode(cookieName, state)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: cookieName, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
		http.Redirect(w, r, p.AuthCodeURL(state), http.StatusFound)
	})
	mux.HandleFunc("GET /callback", p.callback)
	mux.HandleFunc("GET /bind", func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			http.Error(w, "there is no token", http.StatusUnauthorized)
			return
		}
		p.welcome(w, r, token)
	})
	return mux
}

// callback ends a login that began in this browser.
func (p *party) callback(w http.ResponseWriter, r *http.Request) {
	var state string
	sent, err := r.Cookie(cookieName)
	if err == nil {
		err = p.cookies.Decode(cookieName, sent.Value, &state)
	}
	if err != nil || state != r.URL.Query().Get("state") {
		http.Error(w, "this is no answer to a login that began here", http.StatusForbidden)
		return
	}
	tokens, err := p.Exchange(r.Context(), r.URL.Query().Get("code"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	id, _ := tokens.Extra("id_token").(string)
	p.welcome(w, r, id)
}

// welcome says who somebody is, if their token is for this client.
func (p *party) welcome(w http.ResponseWriter, r *http.Request, token string) {
	verified, err := p.verifier.Verify(r.Context(), token)
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	var claims struct{ Email string }
	if err := verified.Claims(&claims); err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	fmt.Fprintf(w, "welcome %s %s\n", verified.Subject, claims.Email)
}

func konnector(ctx context.Context) error {
	const account = "/var/run/secrets/kubernetes.io/serviceaccount/"
	if err := reach(ctx, "https://kubernetes.default.svc", account+"ca.crt"); err != nil {
		return err
	}
	log.Print("the konnector's place is held; it reaches its own API server")
	<-ctx.Done()
	return nil
}

package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"net/url"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// request is what a login is for; it goes with it as the state, unsigned as
// upstream's.
type request struct{ RedirectURL, SessionID, ClusterID string }

// session is what the cookie klutch-bind-SESSION holds.
type session struct {
	Request request
	Claims  struct{ Issuer, Subject string }
}

func cookieName(id string) string { return "klutch-bind-" + id }

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /export", s.export)
	mux.HandleFunc("GET /authorize", s.begin)
	mux.HandleFunc("GET /callback", s.end)
	mux.HandleFunc("GET /resources", s.resources)
	mux.HandleFunc("GET /bind", s.bind)
	return mux
}

// export names the page that a login begins at.
func (s *server) export(w http.ResponseWriter, r *http.Request) {
	authorize := s.authorize
	if authorize == "" {
		authorize = "http://" + r.Host + "/authorize"
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"apiVersion": "klutch.anynines.com/v1alpha1", "kind": "BindingProvider", "version": "v0.0.0", "providerPrettyName": "example-backend",
		"authenticationMethods": []any{map[string]any{"method": "OAuth2CodeGrant", "oauth2CodeGrant": map[string]any{"authenticatedURL": authorize}}},
	})
}

func (s *server) begin(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	state := request{query.Get("u"), query.Get("s"), query.Get("c")}
	if port := query.Get("p"); port != "" && state.RedirectURL == "" {
		state.RedirectURL = "http://localhost:" + port + "/callback"
	}
	if state.RedirectURL == "" || state.SessionID == "" || state.ClusterID == "" {
		http.Error(w, "missing redirect_url or session_id", http.StatusBadRequest)
		return
	}
	encoded, _ := json.Marshal(state)
	http.Redirect(w, r, s.login.AuthCodeURL(base64.URLEncoding.EncodeToString(encoded)), http.StatusFound)
}

// end exchanges the code, and gives the browser its cookie.
func (s *server) end(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	var state session
	decoded, err := base64.URLEncoding.DecodeString(query.Get("state"))
	if err == nil {
		err = json.Unmarshal(decoded, &state.Request)
	}
	if err != nil || query.Get("code") == "" {
		http.Error(w, "no code in request", http.StatusBadRequest)
		return
	}
	tokens, err := s.login.Exchange(r.Context(), query.Get("code"))
	if err != nil {
		failed(w, "failed to exchange token", err)
		return
	}
	id, _ := tokens.Extra("id_token").(string)
	var payload []byte
	if parts := strings.Split(id, "."); len(parts) == 3 {
		payload, err = base64.RawURLEncoding.DecodeString(parts[1])
	}
	var claims struct{ Iss, Sub string }
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	if err != nil {
		failed(w, "failed to parse jwt", err)
		return
	}
	state.Claims.Issuer, state.Claims.Subject = claims.Iss, claims.Sub
	name := cookieName(state.Request.SessionID)
	value, err := s.cookies.Encode(name, state)
	if err != nil {
		failed(w, "failed to encode secure session cookie", err)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, Expires: time.Now().Add(time.Hour), SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, "/resources?s="+url.QueryEscape(state.Request.SessionID), http.StatusFound)
}

var page = template.Must(template.New("").Parse(`<!doctype html><title>Resources</title>
{{range .APIs}}<p>{{.Resource}}.{{.Group}} <a href="/bind?s={{$.Session}}&amp;group={{.Group}}&amp;resource={{.Resource}}">Bind</a></p>
{{end}}`))

type api struct{ Group, Resource string }

// resources lists what is exported; no cookie is asked for, as upstream asks for
// none.
func (s *server) resources(w http.ResponseWriter, r *http.Request) {
	list, err := s.cluster.Resource(templates).List(r.Context(), metav1.ListOptions{})
	if err != nil {
		failed(w, "failed to list crds", err)
		return
	}
	var apis []api
	for i := range list.Items {
		selector := func(field string) string { return text(&list.Items[i], "spec", "APIServiceSelector", field) }
		apis = append(apis, api{selector("group"), selector("resource")})
	}
	w.Header().Set("Content-Type", "text/html")
	_ = page.Execute(w, struct {
		Session string
		APIs    []api
	}{r.URL.Query().Get("s"), apis})
}

// bind gives whoever has the session's cookie a kubeconfig of their own namespace.
func (s *server) bind(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	name := cookieName(query.Get("s"))
	cookie, err := r.Cookie(name)
	if err != nil {
		failed(w, "failed to get session cookie", err)
		return
	}
	var state session
	if err := s.cookies.Decode(name, cookie.Value, &state); err != nil {
		failed(w, "failed to decode session cookie", err)
		return
	}
	wanted := api{query.Get("group"), query.Get("resource")}
	kubeconfig, err := s.consumer(r.Context(), state.Claims.Subject+"#"+state.Request.ClusterID)
	if err != nil {
		failed(w, "failed to handle resources", err)
		return
	}
	if exported, err := s.exported(r.Context(), wanted); err != nil || !exported {
		failed(w, "failed to get export template", fmt.Errorf("not found: %s/%s, %v", wanted.Group, wanted.Resource, err))
		return
	}
	const version = "klutch.anynines.com/v1alpha1"
	answer, _ := json.Marshal(map[string]any{
		"apiVersion": version, "kind": "BindingResponse",
		"authentication": map[string]any{"oauth2CodeGrant": map[string]any{"sessionID": state.Request.SessionID, "id": state.Claims.Issuer + "/" + state.Claims.Subject}},
		"kubeconfig":     kubeconfig,
		"requests": []any{map[string]any{
			"apiVersion": version, "kind": "APIServiceExportRequest", "metadata": map[string]any{"name": wanted.Resource + "." + wanted.Group},
			"spec": map[string]any{"resources": []any{map[string]any{"group": wanted.Group, "resource": wanted.Resource}}},
		}},
	})
	to, err := url.Parse(state.Request.RedirectURL)
	if err != nil {
		failed(w, "failed to parse redirect url", err)
		return
	}
	values := to.Query()
	values.Add("response", base64.URLEncoding.EncodeToString(answer))
	to.RawQuery = values.Encode()
	http.Redirect(w, r, to.String(), http.StatusFound)
}

// failed says why in the log alone, as upstream does.
func failed(w http.ResponseWriter, what string, err error) {
	log.Printf("%s: %v", what, err)
	http.Error(w, "internal error", http.StatusInternalServerError)
}

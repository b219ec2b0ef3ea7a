// Package api serves notes, which are ConfigMaps: whoever may read those in a
// namespace may read its notes.
package api

import (
	"encoding/json"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"example.com/notes/login"
)

// API answers GET /notes/NAMESPACE.
type API struct {
	Logins *login.Verifier
	// Cluster is where the notes are, without anybody's credentials.
	Cluster *rest.Config
}

// ServeHTTP answers with the notes and with who asked.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		http.Error(w, "no token", http.StatusUnauthorized)
		return
	}
	email, err := a.Logins.Email(r.Context(), token)
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	caller := rest.AnonymousClientConfig(a.Cluster)
	caller.BearerToken = token
	client, err := kubernetes.NewForConfig(caller)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	namespace := strings.TrimPrefix(r.URL.Path, "/notes/")
	list, err := client.CoreV1().ConfigMaps(namespace).List(r.Context(), metav1.ListOptions{LabelSelector: "notes.example.com/note"})
	switch {
	case apierrors.IsForbidden(err):
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	answer := struct {
		Reader string   `json:"reader"`
		Notes  []string `json:"notes"`
	}{Reader: email, Notes: []string{}}
	for _, note := range list.Items {
		answer.Notes = append(answer.Notes, note.Data["text"])
	}
	_ = json.NewEncoder(w).Encode(answer)
}

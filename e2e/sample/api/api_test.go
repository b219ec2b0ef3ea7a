package api

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/devenv-oidc/devenv/provision/devenvtest"

	"example.com/notes/login"
)

func TestAPI(t *testing.T) {
	env := devenvtest.Up(t, devenvtest.Profile("default"), devenvtest.Runtime("process"))
	logins, err := login.New(t.Context(), env.HTTPClient(t), env.Issuer, "kubernetes")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(&API{Logins: logins, Cluster: env.AdminConfig(t)})
	t.Cleanup(server.Close) // after the parallel ones
	ask := func(t *testing.T, namespace, token string) (int, string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/notes/"+namespace, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		answer, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, strings.TrimSpace(string(text))
	}

	// each in a namespace of its own, beside each other
	for _, text := range []string{"milk", "bread"} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			namespace := env.Namespace(t, devenvtest.Access{User: "dev@example.com", ClusterRole: "edit"})
			writer, err := kubernetes.NewForConfig(env.Config(t, "dev@example.com"))
			if err != nil {
				t.Fatal(err)
			}
			note := &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Name: "first", Labels: map[string]string{"notes.example.com/note": ""}},
				Data:       map[string]string{"text": text},
			}
			if _, err := writer.CoreV1().ConfigMaps(namespace).Create(t.Context(), note, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			token := env.Token(t, "dev@example.com")
			if code, answer := ask(t, namespace, token); code != http.StatusOK || answer != `{"reader":"dev@example.com","notes":["`+text+`"]}` {
				t.Errorf("the writer got %d: %s", code, answer)
			}
			if code, answer := ask(t, namespace, env.Token(t, "guest@example.com")); code != http.StatusForbidden || !strings.Contains(answer, "cannot list resource") {
				t.Errorf("a guest got %d: %s", code, answer)
			}
			if code, answer := ask(t, namespace, token[:len(token)-8]+"AAAAAAAA"); code != http.StatusUnauthorized {
				t.Errorf("a changed token got %d: %s", code, answer)
			}
			if code, _ := ask(t, namespace, ""); code != http.StatusUnauthorized {
				t.Errorf("no token got %d", code)
			}
		})
	}
}

package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const text = `# what a guide has people apply
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: app}
---
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: app}}
- {apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: things.example.com}}
`

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func TestObjectsAreOrderedVerifiedAndStored(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		_, _ = w.Write([]byte(text))
	}))
	defer server.Close()
	cache := filepath.Join(t.TempDir(), "manifests")
	source := Source{URL: server.URL + "/all.yaml", SHA256: digest(text)}
	for range 2 {
		objects, err := source.Objects(t.Context(), cache)
		if err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for _, o := range objects {
			kinds = append(kinds, o["kind"].(string))
		}
		if got := strings.Join(kinds, " "); got != "Namespace CustomResourceDefinition ConfigMap" {
			t.Errorf("order: %s", got)
		}
	}
	if asked != 1 {
		t.Errorf("it was downloaded %d times", asked)
	}
	// what was stored and then changed is not believed
	if err := os.WriteFile(filepath.Join(cache, source.SHA256+".yaml"), []byte("kind: Other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := source.Objects(t.Context(), cache); err != nil || asked != 2 {
		t.Errorf("after a change in the cache: %v, downloaded %d times", err, asked)
	}
}

func TestWhatIsRejected(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/none" {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write([]byte(text))
	}))
	defer server.Close()
	file := func(text string) Source {
		path := filepath.Join(t.TempDir(), "m.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return Source{URL: "https://example.com/m.yaml", SHA256: digest(text), Local: path}
	}
	other := file(text)
	other.SHA256 = digest("other")
	for name, c := range map[string]struct {
		source Source
		want   string
	}{
		"another file":      {Source{URL: server.URL, SHA256: digest("other")}, "not " + digest("other") + " as the profile says"},
		"another file here": {other, "as the profile says"},
		"nothing there":     {Source{URL: server.URL + "/none", SHA256: digest(text)}, "404 Not Found"},
		"no objects":        {file("# nothing\n"), "it has no objects"},
		"no kind":           {file("apiVersion: v1\nmetadata: {name: a}\n"), "has no kind"},
		"no YAML":           {file("a: [1\n"), "could not read the manifest https://example.com/m.yaml"},
		"a list of strings": {file("items: [a]\n"), "object 1 has no "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.source.Objects(t.Context(), filepath.Join(t.TempDir(), "cache"))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

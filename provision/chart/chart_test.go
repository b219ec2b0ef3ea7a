package chart

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// repository serves one chart, demo 1.0.0, as a chart repository does, and
// counts how often the archive was fetched.
func repository(t *testing.T) (address, sum string, fetched *int) {
	t.Helper()
	var archive bytes.Buffer
	zip := gzip.NewWriter(&archive)
	files := tar.NewWriter(zip)
	for name, text := range map[string]string{
		"demo/Chart.yaml":          "apiVersion: v2\nname: demo\nversion: 1.0.0\n",
		"demo/templates/demo.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: demo}\n",
	} {
		if err := files.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := files.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	content := archive.Bytes()
	hash := sha256.Sum256(content)
	sum, fetched = hex.EncodeToString(hash[:]), new(int)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/index.yaml":
			fmt.Fprintf(w, "apiVersion: v1\nentries:\n  demo:\n  - {name: demo, version: 1.0.0, apiVersion: v2, urls: [demo-1.0.0.tgz]}\n")
		case "/demo-1.0.0.tgz":
			*fetched++
			_, _ = w.Write(content)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, sum, fetched
}

func TestChartIsDownloadedOnceAndVerified(t *testing.T) {
	address, sum, fetched := repository(t)
	t.Chdir(t.TempDir())
	if err := os.Mkdir("demo", 0o755); err != nil { // a folder of the chart's name is none of its business
		t.Fatal(err)
	}
	cache := filepath.Join(t.TempDir(), "charts")
	source := Source{Name: "demo", Repository: address, Version: "1.0.0", SHA256: sum}
	for range 2 {
		chart, err := source.Load(cache)
		if err != nil {
			t.Fatal(err)
		}
		if chart.Name() != "demo" || len(chart.Templates) != 1 {
			t.Errorf("%s with %d templates", chart.Name(), len(chart.Templates))
		}
	}
	if *fetched != 1 {
		t.Errorf("it was fetched %d times", *fetched)
	}
	// what is in the cache is verified too
	kept, err := filepath.Glob(filepath.Join(cache, "demo-1.0.0-*.tgz"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("%v, %v", kept, err)
	}
	if err := os.WriteFile(kept[0], []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := source.Load(cache); err != nil || *fetched != 2 {
		t.Errorf("a broken file in the cache: %v, fetched %d times", err, *fetched)
	}
	entries, err := os.ReadDir(cache)
	if err != nil || len(entries) != 1 {
		t.Errorf("the cache holds %v, %v", entries, err)
	}
}

func TestChartWithAnotherDigestIsRefused(t *testing.T) {
	address, sum, _ := repository(t)
	cache := filepath.Join(t.TempDir(), "charts")
	wanted := strings.Repeat("0", 64)
	_, err := Source{Name: "demo", Repository: address, Version: "1.0.0", SHA256: wanted}.Load(cache)
	if err == nil || !strings.Contains(err.Error(), sum) || !strings.Contains(err.Error(), wanted) {
		t.Fatalf("%v", err)
	}
	if entries, err := os.ReadDir(cache); err != nil || len(entries) != 0 {
		t.Errorf("the rejected chart was stored: %v, %v", entries, err)
	}
}

func TestChartThatIsNotThere(t *testing.T) {
	address, _, _ := repository(t)
	if _, err := (Source{Name: "demo", Repository: address, Version: "2.0.0"}).Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "demo 2.0.0 from "+address) {
		t.Errorf("%v", err)
	}
	if _, err := (Source{Name: "demo", Path: "none"}).Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "from none") {
		t.Errorf("%v", err)
	}
}

// Rendering asks for what the cluster will be, and not for what Helm takes by
// itself, which is years old.
func TestRender(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{
		"Chart.yaml":       "apiVersion: v2\nname: demo\nversion: 1.0.0\nkubeVersion: \">=1.34.0-0\"\n",
		"templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: {{ required \"a is needed\" .Values.a }}}\n",
	} {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	loaded, err := Source{Name: "demo", Path: folder}.Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	release := Release{Name: "r", Namespace: "n", Chart: loaded, Values: map[string]any{"a": "x"}}
	if err := Render(release, "v1.37.0"); err != nil {
		t.Error(err)
	}
	if err := Render(release, "v1.33.0"); err == nil || !strings.Contains(err.Error(), "kubeVersion") {
		t.Errorf("on a version that it refuses: %v", err)
	}
	release.Values = nil
	if err := Render(release, "v1.37.0"); err == nil || !strings.Contains(err.Error(), "a is needed") {
		t.Errorf("without a value that it needs: %v", err)
	}
}

func TestOverlay(t *testing.T) {
	base := map[string]any{"a": 1, "image": map[string]any{"tag": "v1", "repository": "r"}}
	over := map[string]any{"image": map[string]any{"tag": "v2"}, "b": []any{"x"}}
	got := Overlay(base, over)
	image := got["image"].(map[string]any)
	if got["a"] != 1 || image["tag"] != "v2" || image["repository"] != "r" || len(got["b"].([]any)) != 1 {
		t.Errorf("%v", got)
	}
	if base["image"].(map[string]any)["tag"] != "v1" || len(over) != 2 {
		t.Error("its arguments were changed")
	}
}

func TestAdjuster(t *testing.T) {
	rendered := "# Source: a\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n# nothing\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: b}\n"
	adjust := adjuster(func(o map[string]any) { o["seen"] = o["kind"] })
	out, err := adjust.Run(bytes.NewBufferString(rendered))
	if err != nil {
		t.Fatal(err)
	}
	if text := out.String(); !strings.Contains(text, "seen: ConfigMap") || !strings.Contains(text, "seen: Deployment") || strings.Count(text, "---") != 2 || strings.Index(text, "ConfigMap") > strings.Index(text, "Deployment") {
		t.Errorf("%s", text)
	}
	if out, err := adjuster(nil).Run(bytes.NewBufferString(rendered)); err != nil || out.String() != rendered {
		t.Errorf("without a change: %v\n%s", err, out)
	}
}

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/devenv-oidc/devenv/profiles"
)

// Two clusters, a backend in one that relies on Dex, and everything about it
// proven from the other. Where no registry answers, the lab's stand-ins take the
// place of Klutch's two programs, and of its repository's kinds.
func TestKlutch(t *testing.T) {
	t.Parallel()
	const name = "e2e-klutch"
	up := []string{"up", "--name", name, "--profile", "klutch"}
	must(t, up...)
	defer must(t, "down", "--name", name)
	devenv(t, "check", "--name", name).wants(t, 0,
		"✓ Deployment bind/anynines-backend runs", "✓ app: Deployment klutch-bind/konnector runs",
		"✓ app: the backend answers over TLS",
		"✓ app: a service accepts a token that klutch-bind got for itself",
		"✓ app: a service accepts a token for klutch-bind that another client got",
		"✓ app: the same service rejects a token for another audience  (401",
		"✓ app: the API server of the control plane verifies with the CA",
		"✓ app: the issuer answers and verifies from a pod",
		"✓ app: the backend backend names its login page",
		"✓ app: developer@example.com logs in at the backend with Dex's page",
		"✓ app: the backend offers notes.example.devenv.dev",
		"✓ app: developer@example.com gets a kubeconfig for notes.example.devenv.dev",
		"✓ app: the kubeconfig works from the cluster  (system:serviceaccount:cluster-",
		"✓ app: rejected: a wrong password", "✓ app: rejected: somebody unknown",
		"✓ app: a cookie that is signed again is accepted",
		"✓ app: rejected: no cookie", "✓ app: rejected: a changed cookie", "✓ app: rejected: an expired cookie",
		"✓ app: rejected: the cookie of another session", "✓ app: rejected: an API that is not offered", ", 0 failed")
	s := statusOf(t, name)

	var claims struct{ Aud any }
	if err := json.Unmarshal([]byte(must(t, "token", "--name", name, "--grant", "client-credentials", "--client", "klutch-bind", "--output", "claims").stdout), &claims); err != nil || claims.Aud != "klutch-bind" {
		t.Errorf("a token that the client got for itself is for %v, %v", claims.Aud, err)
	}
	devenv(t, "token", "--name", name, "--grant", "client-credentials", "--client", "kubernetes").wants(t, 2, `"kubernetes" cannot be used for the grant client-credentials: it needs a secret`)
	devenv(t, "token", "--name", name, "--grant", "client-credentials", "--client", "klutch-bind", "--user", "operator@example.com").wants(t, 2, "a client gets a token for itself")

	controlPlane := s.Clusters[0].Kubeconfig
	for _, key := range []string{"signing-key", "encryption-key"} {
		text, err := kubectl(t, controlPlane, "get", "secret", "cookie-config", "--namespace=bind", "--output=jsonpath={.data."+key+"}")
		inner, _ := base64.StdEncoding.DecodeString(text)
		if random, decodeErr := base64.StdEncoding.DecodeString(string(inner)); err != nil || decodeErr != nil || len(random) != 32 {
			t.Errorf("%s holds %d bytes, %v, %v", key, len(random), err, decodeErr)
		}
	}

	bindNotes(t, name, s.Clusters[0].Kubeconfig, s.Clusters[1].Kubeconfig)

	chartOfProfile(t, name, controlPlane, up)

	if r := must(t, up...); strings.Contains(r.stderr, "✓") {
		t.Errorf("a second up changed something:\n%s", r.stderr)
	}
	// an image that cannot be had
	r := devenv(t, append(up, "--timeout", "40s", "--set", "spec.clusters[1].objects[2].spec.template.spec.containers[0].image=registry.invalid/konnector:1")...)
	r.wants(t, 4, "error: Apply objects of cluster app:", "while waiting for Deployment klutch-bind/konnector", "event: Failed:", "registry.invalid/konnector:1", "hint: see which proofs that leaves open: devenv check --name "+name)
	devenv(t, "check", "--name", name).wants(t, 5,
		"✗ app: Deployment klutch-bind/konnector runs",
		"✗ app: the backend answers over TLS  (not proven, because of what does not run: Deployment klutch-bind/konnector)")
}

// bindNotes goes on where the check ends, as `kubectl bind` and the konnector do:
// an object of the app cluster comes to the control plane, its status comes back,
// and it is deleted there when it is deleted here.
func bindNotes(t *testing.T, name, controlPlane, app string) {
	t.Helper()
	password := passwordOf(t, name, "developer@example.com")
	p := person{"developer@example.com", password}
	client := p.client()
	client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Host == "localhost:1" { // where `kubectl bind` listens
			return http.ErrUseLastResponse
		}
		return nil
	}
	backend := statusOf(t, name).Endpoints[0].URL
	response, err := client.Get(backend + "/authorize?s=test&c=test&u=" + url.QueryEscape("http://localhost:1/callback"))
	if err != nil {
		t.Fatal(err)
	}
	if page, err := p.fill(client, response); err != nil || !strings.Contains(page, "notes") {
		t.Fatalf("after the login the backend says %q, %v", page, err)
	}
	if response, err = client.Get(backend + "/bind?s=test&group=example.devenv.dev&resource=notes"); err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	to, err := response.Location()
	if err != nil {
		t.Fatal(err)
	}
	text, err := base64.URLEncoding.DecodeString(to.Query().Get("response"))
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Kubeconfig []byte
		Requests   []json.RawMessage
	}
	if err := json.Unmarshal(text, &answer); err != nil || len(answer.Requests) != 1 {
		t.Fatalf("%v, %d requests", err, len(answer.Requests))
	}

	// as `kubectl bind`: the kubeconfig in a Secret, the request at the provider,
	// a binding here. The request goes in as the administrator's: the kubeconfig's
	// address is one for nodes. The konnector uses the kubeconfig itself.
	loaded, err := clientcmd.NewClientConfigFromBytes(answer.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	consumer, _, err := loaded.Namespace()
	if err != nil {
		t.Fatal(err)
	}
	mustKubectl(t, app, "--namespace=klutch-bind", "create", "secret", "generic", "kubeconfig", "--from-file=kubeconfig="+write(t, "kubeconfig", string(answer.Kubeconfig)))
	mustKubectl(t, controlPlane, "--namespace="+consumer, "apply", "--filename="+write(t, "request.json", string(answer.Requests[0])))
	mustKubectl(t, controlPlane, "--namespace="+consumer, "wait", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=30s", "apiserviceexportrequest/notes.example.devenv.dev")
	mustKubectl(t, app, "apply", "--filename="+write(t, "binding.yaml", `apiVersion: klutch.anynines.com/v1alpha1
kind: APIServiceBinding
metadata: {name: notes.example.devenv.dev}
spec: {kubeconfigSecretRef: {name: kubeconfig, namespace: klutch-bind, key: kubeconfig}}
`))
	mustKubectl(t, app, "wait", "--for=create", "--timeout=30s", "customresourcedefinition/notes.example.devenv.dev")
	mustKubectl(t, app, "wait", "--for=condition=Established", "--timeout=30s", "customresourcedefinition/notes.example.devenv.dev")

	mustKubectl(t, app, "apply", "--filename="+write(t, "note.yaml", `apiVersion: example.devenv.dev/v1
kind: Note
metadata: {name: hello, namespace: default}
spec: {text: from the app cluster}
`))
	above := "--namespace=" + consumer + "-default"
	mustKubectl(t, controlPlane, above, "wait", "--for=create", "--timeout=30s", "note/hello")
	mustKubectl(t, controlPlane, above, "wait", "--for=jsonpath={.spec.text}=from the app cluster", "--timeout=30s", "note/hello")
	mustKubectl(t, controlPlane, above, "patch", "note/hello", "--subresource=status", "--type=merge", `--patch={"status":{"read":true}}`)
	mustKubectl(t, app, "--namespace=default", "wait", "--for=jsonpath={.status.read}=true", "--timeout=30s", "note/hello")
	mustKubectl(t, app, "--namespace=default", "delete", "note/hello")
	mustKubectl(t, controlPlane, above, "wait", "--for=delete", "--timeout=30s", "note/hello")
	// what the test made itself goes, so that a second `up` finds what it left
	mustKubectl(t, app, "delete", "apiservicebinding/notes.example.devenv.dev")
}

// A profile without the kinds that the backend waits for fails, and soon, with
// the backend's own words.
func TestKlutchWithoutKinds(t *testing.T) {
	t.Parallel()
	const name = "e2e-kinds"
	defer must(t, "down", "--name", name)
	r := devenv(t, "up", "--name", name, "--profile", "klutch", "--set",
		"spec.clusters[0].manifests=[{repository: 'https://github.com/anynines/klutchio', commit: d16e5d24630f416c530c246683eb1273abef026f, path: bind/contrib/deploy/crd}]")
	r.wants(t, 4, "error: Apply objects of cluster control-plane:", "Deployment bind/anynines-backend", "waiting for the kind apiservicebindings.klutch.anynines.com")
}

// chartOfProfile adds a chart to an environment, with placeholders in its
// values.
func chartOfProfile(t *testing.T, name, kubeconfig string, up []string) {
	t.Helper()
	folder := t.TempDir()
	for file, text := range map[string]string{
		"Chart.yaml":         "apiVersion: v2\nname: demo\nversion: 1.0.0\n",
		"templates/map.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: demo, namespace: {{ .Release.Namespace }}}\ndata: {issuer: {{ required \"issuer is needed\" .Values.issuer }}}\n",
	} {
		path := filepath.Join(folder, "demo", file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pins, err := profiles.PinnedWith(os.Getenv("DEVENV_SOURCES"))
	if err != nil {
		t.Fatal(err)
	}
	pins.DefaultKubernetes = ""
	pins.Charts["demo"] = profiles.ChartPin{Path: filepath.Join(folder, "demo"), Version: "1.0.0"}
	text, err := yaml.Marshal(pins)
	if err != nil {
		t.Fatal(err)
	}
	sources := []string{"DEVENV_SOURCES=" + write(t, "sources.yaml", string(text))}
	with := func(values string) []string {
		return append(up, "--set", fmt.Sprintf("spec.clusters[0].charts=[{name: demo, repository: 'https://charts.invalid', version: 1.0.0, namespace: extra, values: %s}]", values))
	}
	runWith(t, sources, with("{}")...).wants(t, 2, "error: Fetch charts: could not render the chart demo 1.0.0 as release extra/demo", "issuer is needed", "hint: correct its values in the profile")
	runWith(t, sources, with(`{issuer: "${issuer}"}`)...).wants(t, 0, "✓ Install charts of cluster control-plane")
	out, err := kubectl(t, kubeconfig, "get", "configmap", "demo", "--namespace=extra", "--output=jsonpath={.data.issuer}")
	if want := statusOf(t, name).Issuer.URL; err != nil || out != want {
		t.Errorf("the chart's issuer is %q, %v, want %s", out, err, want)
	}
	official := []string{"DEVENV_SOURCES=" + os.Getenv("DEVENV_SOURCES")}
	runWith(t, official, append(up, "--no-prune")...).wants(t, 0)
	if _, err := kubectl(t, kubeconfig, "get", "configmap", "demo", "--namespace=extra"); err != nil {
		t.Errorf("--no-prune did not keep the chart: %v", err)
	}
	runWith(t, official, up...).wants(t, 0, "✓ Delete what the profile no longer has")
	if out := mustKubectl(t, kubeconfig, "get", "configmaps,secrets", "--namespace=extra", "--output=name"); strings.Contains(out, "demo") {
		t.Errorf("the profile has no chart any more, and there is still:\n%s", out)
	}
}

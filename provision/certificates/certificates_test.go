package certificates

import (
	"maps"
	"slices"
	"testing"

	"github.com/devenv-oidc/devenv/profiles"
)

func TestValuesNameOnlyImagesThatAreNotTheCharts(t *testing.T) {
	pin := profiles.Pinned().Charts["cert-manager"]
	own := Values(pin)
	if keys := slices.Sorted(maps.Keys(own)); !slices.Equal(keys, []string{"crds", "global", "startupapicheck"}) {
		t.Errorf("for the pinned chart: %v", keys)
	}
	pin.Images = map[string]profiles.ImagePin{
		"":        {Repository: "mirror.example/controller", Tag: "v1.21.2"},
		"webhook": {Repository: "quay.io/jetstack/cert-manager-webhook", Tag: "v1.21.1"},
	}
	mirrored := Values(pin)
	if image := mirrored["image"].(map[string]any); image["repository"] != "mirror.example/controller" || image["tag"] != "v1.21.2" {
		t.Errorf("%v", mirrored)
	}
	if image := mirrored["webhook"].(map[string]any)["image"].(map[string]any); image["tag"] != "v1.21.1" {
		t.Errorf("%v", mirrored)
	}
	if _, ok := mirrored["cainjector"]; ok {
		t.Errorf("%v", mirrored)
	}
}

// By these cert-manager knows its own work and does not issue again.
func TestPreparedSecretIsOneOfCertManagers(t *testing.T) {
	c := Certificate{Namespace: "dex", Name: "dex-serving", Secret: "dex-serving", DNSNames: []string{"dex.dev.localhost"}}
	annotations := c.PreparedSecret([]byte("c"), []byte("k"), []byte("a"))["metadata"].(map[string]any)["annotations"].(map[string]any)
	issuer := c.object()["spec"].(map[string]any)["issuerRef"].(map[string]any)
	for annotation, want := range map[string]any{
		"cert-manager.io/certificate-name": "dex-serving",
		"cert-manager.io/issuer-name":      issuer["name"],
		"cert-manager.io/issuer-kind":      issuer["kind"],
		"cert-manager.io/issuer-group":     issuer["group"],
	} {
		if annotations[annotation] != want {
			t.Errorf("%s is %v, want %v", annotation, annotations[annotation], want)
		}
	}
}

package identity

import (
	"slices"
	"testing"

	"github.com/devenv-oidc/devenv/profiles"
)

func values(t *testing.T) map[string]any {
	t.Helper()
	v, err := Values(Settings{
		Issuer: "https://dex.dev.localhost:30001", Dex: profiles.Dex{IDTokenLifetime: "90m"},
		Image: profiles.ImagePin{Repository: "ghcr.io/dexidp/dex", Tag: "v2.45.1"}, Certificate: "f00",
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// The value names of the official chart, 0.24.0 (its values.yaml).
func TestValuesAreThoseOfTheOfficialChart(t *testing.T) {
	known := []string{
		"replicaCount", "commonLabels", "image", "imagePullSecrets", "namespaceOverride", "nameOverride", "fullnameOverride", "hostAliases",
		"https", "grpc", "configSecret", "config", "volumes", "volumeMounts", "envFrom", "env", "envVars", "serviceAccount", "rbac",
		"deploymentAnnotations", "deploymentLabels", "podAnnotations", "podLabels", "podDisruptionBudget", "priorityClassName",
		"podSecurityContext", "revisionHistoryLimit", "securityContext", "service", "ingress", "serviceMonitor", "resources", "autoscaling",
		"nodeSelector", "tolerations", "affinity", "topologySpreadConstraints", "strategy", "networkPolicy",
	}
	for key := range values(t) {
		if !slices.Contains(known, key) {
			t.Errorf("the chart has no value %q", key)
		}
	}
}

func TestConfigIsWhatDexNeeds(t *testing.T) {
	config := values(t)["config"].(map[string]any)
	if storage := config["storage"].(map[string]any); storage["type"] != "kubernetes" {
		t.Errorf("storage %v: keys would be lost at a restart", storage)
	}
	if grpc := config["grpc"].(map[string]any); grpc["tlsClientCA"] == "" || grpc["tlsCert"] == "" {
		t.Errorf("gRPC %v is open", grpc)
	}
	if expiry := config["expiry"].(map[string]any); expiry["idTokens"] != "1h30m0s" {
		t.Errorf("expiry %v", expiry)
	}
	if _, err := Values(Settings{Dex: profiles.Dex{IDTokenLifetime: "soon"}}); err == nil {
		t.Error("a lifetime of soon")
	}
}

func TestUserIDIsStable(t *testing.T) {
	if userID("A@example.com") != userID("a@example.com") || userID("a@example.com") == userID("b@example.com") {
		t.Error("user ids do not follow the e-mail")
	}
}

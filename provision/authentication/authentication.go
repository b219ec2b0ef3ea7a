// Package authentication writes AuthenticationConfiguration files for API
// servers, and tries them with the API server's own validator. It is the only
// one that knows that.
package authentication

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	"k8s.io/apiserver/pkg/authentication/cel"
	"sigs.k8s.io/yaml"

	"github.com/devenv-oidc/devenv/profiles"
)

const group = "apiserver.config.k8s.io"

// serviceAccountIssuer may not be an issuer of tokens for people too.
const serviceAccountIssuer = "https://kubernetes.default.svc.cluster.local"

// Known is what only the environment knows of its Dex.
type Known struct {
	Issuer string // URL
	CAPEM  string
}

// apiVersion is the newest that a version of Kubernetes has.
func apiVersion(kubernetesVersion string) (string, error) {
	v, err := version.ParseSemantic(kubernetesVersion)
	switch {
	case err != nil:
		return "", err
	case v.AtLeast(version.MustParseSemantic("v1.34.0")):
		return group + "/v1", nil
	case v.AtLeast(version.MustParseSemantic("v1.30.0")):
		return group + "/v1beta1", nil
	}
	return "", fmt.Errorf("trust by configuration needs Kubernetes 1.30, %s is too old", kubernetesVersion)
}

// Render writes the file for an API server of that version.
func Render(c *profiles.AuthenticationConfiguration, known Known, kubernetesVersion string) ([]byte, error) {
	v, err := apiVersion(kubernetesVersion)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	var document map[string]any
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	document["apiVersion"], document["kind"] = v, "AuthenticationConfiguration"
	issuers, _ := document["jwt"].([]any)
	for _, one := range issuers {
		authenticator, _ := one.(map[string]any)
		issuer, _ := authenticator["issuer"].(map[string]any)
		if issuer != nil && issuer["url"] == nil {
			issuer["url"] = known.Issuer
			if known.CAPEM != "" {
				issuer["certificateAuthority"] = known.CAPEM
			}
		}
	}
	return yaml.Marshal(document)
}

// Mistakes are what the API server itself would refuse in a file, CEL that does
// not compile among it, each with its place below the configuration.
func Mistakes(c *profiles.AuthenticationConfiguration, kubernetesVersion string) []string {
	text, err := Render(c, Known{Issuer: "https://dex.invalid"}, kubernetesVersion)
	if err != nil {
		return []string{err.Error()}
	}
	scheme := runtime.NewScheme()
	install.Install(scheme)
	object, err := runtime.Decode(serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder(), text)
	if err != nil {
		return []string{err.Error()}
	}
	var mistakes []string
	for _, e := range validation.ValidateAuthenticationConfiguration(cel.NewDefaultCompiler(), object.(*apiserver.AuthenticationConfiguration), []string{serviceAccountIssuer}) {
		mistakes = append(mistakes, e.Field+": "+e.ErrorBody())
	}
	return mistakes
}

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

// Known are the issuers that only the environment knows.
type Known struct {
	// Own is the environment's: Dex, or an external one.
	Own Issuer
	// Clusters by name. One that is not known yet is left out of the file: it is
	// written again when it is.
	Clusters map[string]Issuer
}

// Issuer is where an issuer is, and who vouches for it.
type Issuer struct{ URL, CAPEM string }

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
	all, _ := document["jwt"].([]any)
	complete := []any{}
	for _, one := range all {
		authenticator, _ := one.(map[string]any)
		issuer, _ := authenticator["issuer"].(map[string]any)
		if known.fill(issuer) {
			complete = append(complete, one)
		}
	}
	document["jwt"] = complete
	return yaml.Marshal(document)
}

// fill says where an issuer is that the profile gives no URL; false where that
// is not known yet.
func (k Known) fill(issuer map[string]any) bool {
	if issuer["url"] != nil {
		return true
	}
	is := k.Own
	if name, ok := issuer["cluster"].(string); ok {
		is, ok = k.Clusters[name]
		if !ok {
			return false
		}
		delete(issuer, "cluster")
	}
	issuer["url"] = is.URL
	if is.CAPEM != "" {
		issuer["certificateAuthority"] = is.CAPEM
	}
	return true
}

// Mistakes are what the API server itself would reject in a file, CEL that does
// not compile among it, each with its place below the configuration.
func Mistakes(c *profiles.AuthenticationConfiguration, kubernetesVersion string) []string {
	known := Known{Own: Issuer{URL: "https://dex.invalid"}, Clusters: map[string]Issuer{}}
	for _, a := range c.JWT {
		known.Clusters[a.Issuer.Cluster] = Issuer{URL: "https://" + a.Issuer.Cluster + ".invalid"}
	}
	text, err := Render(c, known, kubernetesVersion)
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

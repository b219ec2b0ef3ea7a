package report

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/identity"
)

// learn tells a redactor every secret of an environment that can be found: those
// of the record and of the state folder, and those in the clusters. What a
// cluster does not answer cannot stand in the report either, but for logs, which
// the patterns see.
func learn(ctx context.Context, e *environment.Environment, r *redactor) {
	names := namesIn(e.Spec())
	for _, u := range e.Record.Profile.People() {
		if !strings.Contains(names, u.Password) {
			r.know("password", u.Password)
		}
	}
	for _, c := range e.Spec().Clients() {
		if !strings.Contains(names, c.Secret) {
			r.know("client-secret", c.Secret)
		}
	}
	for _, part := range []any{e.Spec().Dex.Connectors, e.Spec().Dex.Values} {
		eachSecretField(part, func(value string) string {
			if !strings.Contains(names, value) {
				r.know("secret", value)
			}
			return value
		})
	}
	for _, value := range e.Record.Random {
		r.know("random", value)
		if raw, err := base64.StdEncoding.DecodeString(value); err == nil {
			r.know("random", string(raw))
		}
	}
	learnFiles(string(e.Dir), r)
	for _, c := range e.Spec().Clusters {
		learnCluster(ctx, e, c.Name, r)
	}
}

// secretField are fields of Dex's configuration that hold secrets: clientSecret,
// bindPW, rootPassword …
var secretField = regexp.MustCompile(`(?i)secret|passw|pw$|token$|key$`)

// eachSecretField returns a copy of a part of a profile in which the values of
// fields for secrets are what replace makes of them.
func eachSecretField[T any](part T, replace func(value string) string) T {
	var tree any
	var copied T
	text, err := json.Marshal(part)
	if err == nil {
		err = json.Unmarshal(text, &tree)
	}
	if err == nil {
		replaceFields(tree, replace)
		text, err = json.Marshal(tree)
	}
	if err == nil {
		err = json.Unmarshal(text, &copied)
	}
	if err != nil { // it was read from a profile: then nothing of it is shown
		var none T
		return none
	}
	return copied
}

func replaceFields(tree any, replace func(string) string) {
	switch node := tree.(type) {
	case []any:
		for _, item := range node {
			replaceFields(item, replace)
		}
	case map[string]any:
		for name, value := range node {
			if text, ok := value.(string); ok && text != "" && secretField.MatchString(name) {
				node[name] = replace(text)
				continue
			}
			replaceFields(value, replace)
		}
	}
}

// namesIn are the names that a profile gives. A password that is one of them, as
// in many a test set-up, is replaced in its own field alone: everywhere else
// nobody can tell it from the name, and without names a report is of no use.
func namesIn(spec *profiles.Spec) string {
	var names []string
	for _, u := range spec.Users() {
		names = append(append(names, u.Email, u.Username), u.Groups...)
	}
	for _, c := range spec.Clients() {
		names = append(names, c.ID, c.Name)
	}
	for _, c := range spec.Clusters {
		names = append(append(names, c.Name), c.Access.Namespaces...)
	}
	return strings.Join(names, "\n")
}

// learnFiles knows the private keys of a folder.
func learnFiles(folder string, r *redactor) {
	_ = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".key" {
			return nil
		}
		if text, err := os.ReadFile(path); err == nil {
			learnPEM(string(text), r)
		}
		return nil
	})
}

// learnPEM knows a key as a whole, and each of its lines.
func learnPEM(text string, r *redactor) {
	r.know("key", text)
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") && len(line) > 16 {
			r.know("key", line)
		}
	}
}

func learnCluster(ctx context.Context, e *environment.Environment, name string, r *redactor) {
	admin, err := e.Admin(name)
	if err != nil {
		return
	}
	for _, text := range []string{string(admin.Config.KeyData), admin.Config.BearerToken} {
		learnPEM(text, r)
	}
	secrets, err := admin.Core.CoreV1().Secrets("").List(ctx, metav1.ListOptions{FieldSelector: "type!=helm.sh/release.v1"})
	if err == nil {
		for _, s := range secrets.Items {
			for key, value := range s.Data {
				if isSecret(key, value) {
					learnPEM(string(value), r)
				}
			}
		}
	}
	for resource, fields := range dexSecrets {
		list, err := admin.Dynamic.Resource(schema.GroupVersionResource{Group: "dex.coreos.com", Version: "v1", Resource: resource}).
			Namespace(identity.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			continue
		}
		for _, o := range list.Items {
			for _, path := range fields {
				learnField(o.Object, path, r)
			}
		}
	}
}

var secretKey = regexp.MustCompile(`(?i)password|token|secret|key`)

// isSecret tells a secret in a Secret from what only stands beside one, such as a
// certificate or a URL.
func isSecret(key string, value []byte) bool {
	if strings.HasSuffix(key, ".crt") || strings.HasPrefix(string(value), "http") || len(value) > 1<<16 {
		return false
	}
	return secretKey.MatchString(key) || strings.HasSuffix(key, "kubeconfig")
}

// dexSecrets are the fields of Dex's objects that hold secrets
// (github.com/dexidp/dex, storage/kubernetes/types.go).
var dexSecrets = map[string][][]string{
	"passwords":      {{"hash"}},
	"oauth2clients":  {{"secret"}},
	"refreshtokens":  {{"token"}, {"obsoleteToken"}, {"nonce"}},
	"authcodes":      {{"nonce"}, {"pkce", "codeChallenge"}},
	"authrequests":   {{"state"}, {"nonce"}, {"hmacKey"}},
	"devicerequests": {{"device_code"}, {"user_code"}, {"client_secret"}},
	"devicetokens":   {{"device_code"}, {"token"}},
	"signingkeies":   {{"signingKey", "d"}, {"signingKey", "p"}, {"signingKey", "q"}, {"signingKey", "dp"}, {"signingKey", "dq"}, {"signingKey", "qi"}},
}

func learnField(object map[string]any, path []string, r *redactor) {
	value, found, err := unstructured.NestedString(object, path...)
	if err != nil || !found {
		return
	}
	r.know("dex", value)
	if raw, err := base64.StdEncoding.DecodeString(value); err == nil { // as JSON has bytes
		r.know("dex", string(raw))
	}
}

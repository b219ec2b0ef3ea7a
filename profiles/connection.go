package profiles

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Connection is a kubeconfig for one cluster that lies in a Secret of another,
// with a token of a service account there: one cluster reaches the other, and
// no user has to log in. The Secret owns the service account of its name.
type Connection struct {
	// Name of the Secret and of the service account.
	Name string `json:"name" jsonschema:"pattern=^[a-z]([-a-z0-9]{0\\,61}[a-z0-9])?$"`
	// From is the cluster that has them, a publicIssuer; To is the one that
	// trusts it and is reached.
	From string `json:"from" jsonschema:"minLength=1"`
	To   string `json:"to" jsonschema:"minLength=1"`
	// Namespace of the Secret and of the service account.
	Namespace string `json:"namespace" jsonschema:"minLength=1"`
	// Audience that the token is requested for.
	Audience string `json:"audience" jsonschema:"minLength=1"`
	// TokenLifetime as a Go duration; "1h" when empty. `up` renews the token in
	// its last third, `devenv rotate` at once.
	TokenLifetime string `json:"tokenLifetime,omitempty"`
	// Type of the Secret; Opaque when empty.
	Type string `json:"type,omitempty"`
	// Labels and Annotations of the Secret; annotations may have placeholders.
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	// Data of the Secret beside the kubeconfig, as text; it may have
	// placeholders.
	Data map[string]string `json:"data,omitempty"`
	// KubeconfigKey is the key of the kubeconfig; "kubeconfig" when empty.
	KubeconfigKey string `json:"kubeconfigKey,omitempty"`
	// Can and Cannot list what the kubeconfig must be good for, as an
	// Expectation does.
	Can    []string `json:"can,omitempty"`
	Cannot []string `json:"cannot,omitempty"`
}

// Subject is the claim sub of the connection's tokens.
func (c Connection) Subject() string {
	return "system:serviceaccount:" + c.Namespace + ":" + c.Name
}

// Lifetime is TokenLifetime, which a valid profile has as a duration.
func (c Connection) Lifetime() time.Duration {
	d, _ := time.ParseDuration(c.TokenLifetime)
	return d
}

// shortestToken is the API server's limit (k8s.io/kubernetes,
// pkg/apis/authentication/validation).
const shortestToken = 10 * time.Minute

func (m *report) connections(e *Environment) {
	seen := map[string]bool{}
	for i, c := range e.Spec.Connections {
		path := fmt.Sprintf("spec.connections[%d]", i)
		if seen[c.Name] {
			m.add(path+".name", "%q stands there twice", c.Name)
		}
		seen[c.Name] = true
		if c.Name == "default" {
			m.add(path+".name", "\"default\" is the service account that every namespace has")
		}
		if d, err := time.ParseDuration(c.TokenLifetime); err != nil || d < shortestToken {
			m.add(path+".tokenLifetime", "%q is not a duration of at least %s, such as 1h", c.TokenLifetime, "10m")
		}
		m.placeholders(e, path+".annotations", c.Annotations)
		m.placeholders(e, path+".data", c.Data)
		m.actions(path+".can", c.Can)
		m.actions(path+".cannot", c.Cannot)
		from, to := e.Cluster(c.From), e.Cluster(c.To)
		if from == nil {
			m.add(path+".from", "there is no cluster %q", c.From)
		} else if !slices.Contains(from.Access.Namespaces, c.Namespace) && !builtInNamespace(c.Namespace) {
			m.add(path+".namespace", "%q is not in access.namespaces of cluster %q", c.Namespace, c.From)
		}
		switch {
		case to == nil:
			m.add(path+".to", "there is no cluster %q", c.To)
		case !slices.Contains(to.Trust.Issuers(), c.From):
			m.add(path+".to", "cluster %q does not trust cluster %q; give it a trust.configuration.jwt[].issuer.cluster", c.To, c.From)
		case to.Trust.Cluster(c.From, c.Audience).ClientID == "":
			m.add(path+".audience", "cluster %q trusts tokens of %q for other audiences only: %s", c.To, c.From, strings.Join(to.Trust.audiences(c.From), ", "))
		}
	}
}

// audiences are those for which a cluster's tokens are taken.
func (t Trust) audiences(cluster string) []string {
	var list []string
	for _, a := range t.Configuration.JWT {
		if a.Issuer.Cluster == cluster {
			list = append(list, a.Issuer.Audiences...)
		}
	}
	return list
}

package profiles

import "fmt"

// ServiceBinding is a backend that speaks kube-bind's protocol, and gives whoever
// logs in a kubeconfig of their own namespace
// (https://github.com/kube-bind/kube-bind). The check goes through it as a
// browser does, and tries what must be refused.
type ServiceBinding struct {
	// Endpoint that the backend answers at.
	Endpoint string `json:"endpoint" jsonschema:"minLength=1"`
	// Cluster that the kubeconfig is for, where the API is consumed.
	Cluster string `json:"cluster" jsonschema:"minLength=1"`
	// User who logs in, by e-mail.
	User string `json:"user" jsonschema:"minLength=1"`
	// Group and Resource of the API that the backend must offer.
	Group    string `json:"group" jsonschema:"minLength=1"`
	Resource string `json:"resource" jsonschema:"minLength=1"`
	// Cookie is the prefix of the session's cookie, before the session's id.
	Cookie string `json:"cookie" jsonschema:"minLength=1"`
	// SigningKey of the backend's cookies in base64, with which the check makes one
	// that has expired; it may have placeholders.
	SigningKey string `json:"signingKey" jsonschema:"minLength=1"`
}

func (m *report) serviceBindings(e *Environment) {
	endpoints := map[string]bool{}
	for _, x := range e.Spec.Endpoints {
		endpoints[x.Name] = true
	}
	for i, b := range e.Spec.ServiceBindings {
		p := fmt.Sprintf("spec.serviceBindings[%d]", i)
		if !endpoints[b.Endpoint] {
			m.add(p+".endpoint", "there is no endpoint %q", b.Endpoint)
		}
		if e.Cluster(b.Cluster) == nil {
			m.add(p+".cluster", "there is no cluster %q", b.Cluster)
		}
		if e.User(b.User) == nil {
			m.add(p+".user", "there is no user %q in spec.dex.users%s", b.User, didYouMean(b.User, emails(e)))
		}
		m.placeholders(e, p+".signingKey", b.SigningKey)
	}
}

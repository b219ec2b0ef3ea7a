package profiles

import (
	"path"
	"slices"
	"strings"
)

// Share is a link that leads through Dex's login page to a kubeconfig.
type Share struct {
	// Client that the link logs in with, and that a cluster trusts. The link
	// becomes one of its redirect URIs.
	Client string `json:"client" jsonschema:"minLength=1"`
	// Path of the link; "/kubeconfig" when empty.
	Path string `json:"path,omitempty" jsonschema:"pattern=^/[-a-zA-Z0-9/_.]+$"`
}

func (m *report) share(e *Environment) {
	s := e.Spec.Share
	trusts := func(c Cluster) bool { return c.Trust.Provider().ClientID == s.Client }
	switch {
	case s == nil:
	case path.Clean(s.Path) != s.Path:
		m.add("spec.share.path", "%q is not the plain form of a path, which is %q", s.Path, path.Clean(s.Path))
	case e.Client(s.Client) == nil:
		m.add("spec.share.client", "there is no client %q in spec.dex.clients, they are: %s", s.Client, strings.Join(clientIDs(e), ", "))
	case e.Client(s.Client).Public && len(e.Client(s.Client).RedirectURIs) == 0:
		m.add("spec.share.client", "%q is public and may come back to any port of this machine, which it no longer could; give it redirectURIs", s.Client)
	case !slices.ContainsFunc(e.Spec.Clusters, trusts):
		m.add("spec.share.client", "no cluster takes tokens for %q", s.Client)
	}
}

package profiles

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"sort"
	"strings"
	"time"
)

// mistakes checks what a schema cannot say: references, uniqueness, limits of
// the parts that will read it.
func (e *Environment) mistakes() []string {
	var m report
	m.clusters(e)
	m.dex(e)
	m.connections(e)
	m.share(e)
	m.workloads(e)
	m.expectations(e)
	if e.Spec.Runtime == RuntimeProcess {
		for _, field := range e.NeedsPods() {
			m.add(field, "needs pods, which spec.runtime: process has not")
		}
	}
	sort.Strings(m)
	return m
}

type report []string

func (m *report) add(path, format string, args ...any) {
	*m = append(*m, path+": "+fmt.Sprintf(format, args...))
}

func (m *report) clusters(e *Environment) {
	seen := map[string]bool{}
	for i, c := range e.Spec.Clusters {
		path := fmt.Sprintf("spec.clusters[%d]", i)
		if c.Name != "" && seen[c.Name] {
			m.add(path+".name", "%q stands there twice", c.Name)
		}
		seen[c.Name] = true
		m.trust(e, path+".trust", c)
		if e.needsVerified(c.Name) && !slices.ContainsFunc(e.Spec.Dex.Users, func(u User) bool { return *u.EmailVerified }) {
			m.add(path+".trust", "no user has a verified e-mail, so that nobody could log in")
		}
		m.access(path+".access", c.Access)
	}
}

func (m *report) trust(e *Environment, path string, c Cluster) {
	t := c.Trust
	audience := func(path, id string) {
		if id != "" && e.Client(id) == nil {
			m.add(path, "there is no client %q in spec.dex.clients, they are: %s", id, strings.Join(clientIDs(e), ", "))
		}
	}
	switch {
	case t.Flags == nil && t.Configuration == nil:
		m.add(path, "says nothing; set trust.flags or trust.configuration")
	case t.Flags != nil && t.Configuration != nil:
		m.add(path, "has flags and configuration, which the API server takes only one of")
	case t.Flags != nil:
		audience(path+".flags.clientID", t.Flags.ClientID)
	case t.Dex().ClientID == "" && c.Name == e.Spec.Clusters[0].Name:
		m.add(path+".configuration.jwt", "none of them is the environment's Dex, in the first cluster; leave out issuer.url and issuer.cluster of one")
	default:
		for i, a := range t.Configuration.JWT {
			p := fmt.Sprintf("%s.configuration.jwt[%d].issuer", path, i)
			switch {
			case a.Issuer.Cluster != "":
				m.clusterIssuer(e, p, c.Name, a.Issuer)
			case a.Issuer.URL == "":
				for j, id := range a.Issuer.Audiences {
					audience(fmt.Sprintf("%s.audiences[%d]", p, j), id)
				}
			}
		}
	}
}

// clusterIssuer checks an issuer that must be another cluster of the
// environment.
func (m *report) clusterIssuer(e *Environment, path, cluster string, i TokenIssuer) {
	hosts := e.Cluster(i.Cluster)
	switch {
	case i.URL != "" || i.DiscoveryURL != "" || i.CertificateAuthority != "":
		m.add(path, "has a cluster, whose url, discoveryURL and certificateAuthority are known; leave them out")
	case hosts == nil:
		m.add(path+".cluster", "there is no cluster %q", i.Cluster)
	case i.Cluster == cluster:
		m.add(path+".cluster", "is the cluster itself, which knows its own service accounts")
	case !hosts.PublicIssuer:
		m.add(path+".cluster", "%q is no issuer for others; set its publicIssuer: true", i.Cluster)
	}
}

func (m *report) access(path string, a Access) {
	exists := func(p, namespace string) {
		if namespace != "" && !slices.Contains(a.Namespaces, namespace) && !builtInNamespace(namespace) {
			m.add(p+".namespace", "%q is not in %s.namespaces", namespace, path)
		}
	}
	clusterRoles, roles, bindings := seen{}, seen{}, seen{}
	for i, r := range a.ClusterRoles {
		p := fmt.Sprintf("%s.clusterRoles[%d]", path, i)
		clusterRoles.once(m, p, "", r.Name)
		if builtInRole(r.Name) {
			m.add(p+".name", "%q is a role of Kubernetes itself, choose another name", r.Name)
		}
		m.rules(p, r.Rules)
	}
	for i, r := range a.Roles {
		p := fmt.Sprintf("%s.roles[%d]", path, i)
		roles.once(m, p, r.Namespace, r.Name)
		exists(p, r.Namespace)
		m.rules(p, r.Rules)
	}
	for i, b := range a.Bindings {
		p := fmt.Sprintf("%s.bindings[%d]", path, i)
		bindings.once(m, p, b.Namespace, b.Name)
		exists(p, b.Namespace)
		if len(b.Users)+len(b.Groups) == 0 {
			m.add(p, "binds nobody; set users or groups")
		}
		switch {
		case (b.ClusterRole == "") == (b.Role == ""):
			m.add(p, "grants one of clusterRole and role")
		case b.Role != "" && !roles[b.Namespace+"/"+b.Role]:
			m.add(p+".role", "there is no role %q in the namespace %q; without a namespace there are clusterRoles", b.Role, b.Namespace)
		}
	}
}

// seen are the names of objects, namespace/name.
type seen map[string]bool

func (s seen) once(m *report, path, namespace, name string) {
	if s[namespace+"/"+name] {
		m.add(path+".name", "%q stands there twice", name)
	}
	s[namespace+"/"+name] = true
}

func (m *report) rules(path string, rules []Rule) {
	for i, rule := range rules {
		if len(rule.NonResourceURLs) == 0 && (len(rule.APIGroups) == 0 || len(rule.Resources) == 0) {
			m.add(fmt.Sprintf("%s.rules[%d]", path, i), "grants nothing; set apiGroups and resources, or nonResourceURLs")
		}
		if len(rule.NonResourceURLs) > 0 && len(rule.APIGroups)+len(rule.Resources) > 0 {
			m.add(fmt.Sprintf("%s.rules[%d]", path, i), "is about resources and about nonResourceURLs; make two of it")
		}
	}
}

func builtInNamespace(name string) bool {
	return name == "default" || strings.HasPrefix(name, "kube-")
}

// builtInRole says whether Kubernetes makes a ClusterRole of that name (k8s.io/
// kubernetes, plugin/pkg/auth/authorizer/rbac/bootstrappolicy).
func builtInRole(name string) bool {
	return slices.Contains([]string{"cluster-admin", "admin", "edit", "view"}, name) || strings.HasPrefix(name, "system:")
}

func (m *report) dex(e *Environment) {
	if d, err := time.ParseDuration(e.Spec.Dex.IDTokenLifetime); err != nil || d < time.Minute {
		m.add("spec.dex.idTokenLifetime", "%q is not a duration of at least 1m, such as 30m or 8h", e.Spec.Dex.IDTokenLifetime)
	}
	if v := e.Spec.Dex.Version; v != "" && !Pinned().knowsDex(v) {
		m.add("spec.dex.version", "no Dex %q is pinned; there are: %s", v, strings.Join(slices.Sorted(maps.Keys(Pinned().Dex)), ", "))
	}
	ids := map[string]bool{}
	for i, c := range e.Spec.Dex.Clients {
		path := fmt.Sprintf("spec.dex.clients[%d]", i)
		if ids[c.ID] {
			m.add(path+".id", "%q stands there twice", c.ID)
		}
		ids[c.ID] = true
		if c.Public && c.Secret != "" {
			m.add(path+".secret", "a public client has none")
		}
		for j, uri := range c.RedirectURIs {
			m.placeholders(e, fmt.Sprintf("%s.redirectURIs[%d]", path, j), uri)
			known, _ := Fill(uri, func(string) (string, error) { return "https://x.localhost", nil })
			if u, err := url.Parse(known); uri != deviceCallback && (err != nil || u.Scheme == "") {
				m.add(fmt.Sprintf("%s.redirectURIs[%d]", path, j), "%q is not an absolute URI", uri)
			}
		}
		for j, g := range c.Grants {
			m.grant(e, fmt.Sprintf("%s.grants[%d]", path, j), c, g)
		}
		for j, peer := range c.TrustedPeers {
			if e.Client(peer) == nil {
				m.add(fmt.Sprintf("%s.trustedPeers[%d]", path, j), "there is no client %q", peer)
			}
		}
	}
	emails := map[string]bool{}
	for i, u := range e.Spec.Dex.Users {
		path := fmt.Sprintf("spec.dex.users[%d]", i)
		key := strings.ToLower(u.Email) // Dex stores them so
		if emails[key] {
			m.add(path+".email", "%q stands there twice", u.Email)
		}
		emails[key] = true
		if len(u.Password) > 72 {
			m.add(path+".password", "is longer than bcrypt's 72 bytes")
		}
	}
}

func (m *report) share(e *Environment) {
	s := e.Spec.Share
	trusts := func(c Cluster) bool { return c.Trust.Dex().ClientID == s.Client }
	switch {
	case s == nil:
	case e.Client(s.Client) == nil:
		m.add("spec.share.client", "there is no client %q in spec.dex.clients, they are: %s", s.Client, strings.Join(clientIDs(e), ", "))
	case !slices.ContainsFunc(e.Spec.Clusters, trusts):
		m.add("spec.share.client", "no cluster takes tokens for %q", s.Client)
	}
}

// deviceCallback is the one redirect URI that is relative: Dex's own, of the
// device grant.
const deviceCallback = "/device/callback"

func (m *report) expectations(e *Environment) {
	for i, x := range e.Spec.Expectations {
		path := fmt.Sprintf("spec.expectations[%d]", i)
		if u := e.User(x.User); u != nil && !*u.EmailVerified && e.needsVerified(x.Cluster) {
			m.add(path+".user", "the e-mail of %q is not verified, so that cluster %q refuses all of their tokens; the check proves it by itself", x.User, x.Cluster)
		}
		if e.User(x.User) == nil {
			m.add(path+".user", "there is no user %q in spec.dex.users%s", x.User, didYouMean(x.User, emails(e)))
		}
		if c := e.Cluster(x.Cluster); c == nil {
			m.add(path+".cluster", "there is no cluster %q", x.Cluster)
		} else if c.Trust.Dex().ClientID == "" {
			m.add(path+".cluster", "%q does not trust Dex, so that no user can log in there", x.Cluster)
		}
		m.actions(path+".can", x.Can)
		m.actions(path+".cannot", x.Cannot)
		if x.Trial != nil {
			m.actions(path+".trial.can", x.Trial.Can)
		}
	}
}

func (m *report) actions(path string, actions []string) {
	for i, a := range actions {
		if _, err := ParseAction(a); err != nil {
			m.add(fmt.Sprintf("%s[%d]", path, i), "%v", err)
		}
	}
}

// needsVerified says whether a cluster takes user names from the e-mail, which
// the API server does only for verified ones.
func (e *Environment) needsVerified(cluster string) bool {
	c := e.Cluster(cluster)
	return c != nil && c.Trust.Dex().NeedsVerified()
}

// Action is one thing a user may or may not do.
type Action struct {
	Verb      string
	Group     string // API group, "" for core
	Resource  string
	Name      string
	Namespace string // "" for everywhere
}

// String writes the action as a profile does.
func (a Action) String() string {
	s := a.Verb + " " + a.Resource
	if a.Group != "" {
		s += "." + a.Group
	}
	if a.Name != "" {
		s += "/" + a.Name
	}
	if a.Namespace != "" {
		s += " in " + a.Namespace
	}
	return s
}

// ParseAction reads `VERB RESOURCE[.GROUP][/NAME] [in NAMESPACE]`.
func ParseAction(text string) (Action, error) {
	words := strings.Fields(text)
	if len(words) != 2 && (len(words) != 4 || words[2] != "in") {
		return Action{}, fmt.Errorf("%q is not VERB RESOURCE[.GROUP][/NAME] [in NAMESPACE], as in \"list pods in demo\"", text)
	}
	a := Action{Verb: words[0]}
	resource, name, _ := strings.Cut(words[1], "/")
	a.Resource, a.Group, _ = strings.Cut(resource, ".")
	a.Name = name
	if len(words) == 4 {
		a.Namespace = words[3]
	}
	return a, nil
}

func clientIDs(e *Environment) []string {
	var ids []string
	for _, c := range e.Spec.Dex.Clients {
		ids = append(ids, c.ID)
	}
	return ids
}

func emails(e *Environment) []string {
	var list []string
	for _, u := range e.Spec.Dex.Users {
		list = append(list, u.Email)
	}
	return list
}

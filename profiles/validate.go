package profiles

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// mistakes checks what a schema cannot say: references, uniqueness, limits of
// the parts that will read it.
func (e *Environment) mistakes() []string {
	var m report
	m.clusters(e)
	m.issuer(e)
	m.dex(e)
	m.connections(e)
	m.share(e)
	m.workloads(e)
	m.serviceBindings(e)
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
		m.placeholders(e, path+".trust", c.Trust)
		for _, name := range UsedPlaceholders(c.Trust) {
			if strings.HasPrefix(name, "clusters.") && strings.HasSuffix(name, ".ca") {
				m.add(path+".trust", "${%s} is not known before the clusters run; an issuer that is a cluster is named by issuer.cluster", name)
			}
		}
		if e.needsVerified(c.Name) && !slices.ContainsFunc(e.Spec.Users(), func(u User) bool { return *u.EmailVerified }) {
			m.add(path+".trust", "no user has a verified e-mail, so that nobody could log in")
		}
		m.access(path+".access", c.Access)
		m.nodes(e, path, c)
	}
}

func (m *report) trust(e *Environment, path string, c Cluster) {
	t := c.Trust
	audience := func(path, id string) {
		if id != "" && e.Client(id) == nil {
			m.add(path, "there is no client %q in %s.clients, they are: %s", id, e.Spec.provider(), strings.Join(clientIDs(e), ", "))
		}
	}
	switch {
	case t.Flags == nil && t.Configuration == nil:
		m.add(path, "says nothing; set trust.flags or trust.configuration")
	case t.Flags != nil && t.Configuration != nil:
		m.add(path, "has flags and configuration, which the API server takes only one of")
	case t.Flags != nil:
		audience(path+".flags.clientID", t.Flags.ClientID)
	case t.Provider().ClientID == "" && c.Name == e.Spec.Clusters[0].Name:
		m.add(path+".configuration.jwt", "none of them is the environment's issuer, in the first cluster; leave out issuer.url and issuer.cluster of one")
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

// needsVerified says whether a cluster takes user names from the e-mail, which
// the API server does only for verified ones.
func (e *Environment) needsVerified(cluster string) bool {
	c := e.Cluster(cluster)
	return c != nil && c.Trust.Provider().NeedsVerified()
}

func clientIDs(e *Environment) []string {
	var ids []string
	for _, c := range e.Spec.Clients() {
		ids = append(ids, c.ID)
	}
	return ids
}

func emails(e *Environment) []string {
	var list []string
	for _, u := range e.Spec.Users() {
		list = append(list, u.Email)
	}
	return list
}

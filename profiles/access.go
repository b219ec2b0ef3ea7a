package profiles

import (
	"fmt"
	"slices"
	"strings"
)

// Access is RBAC: applied by server-side apply, and pruned.
type Access struct {
	// Namespaces to create.
	Namespaces []string `json:"namespaces,omitempty"`
	// ClusterRoles to create, beside those of Kubernetes.
	ClusterRoles []ClusterRole `json:"clusterRoles,omitempty"`
	// BuiltInRoles are ClusterRoles that Kubernetes has by itself, for labels.
	BuiltInRoles []BuiltInRole `json:"builtInRoles,omitempty"`
	// Roles to create in namespaces.
	Roles []Role `json:"roles,omitempty"`
	// Bindings of roles to users and groups.
	Bindings []Binding `json:"bindings,omitempty"`
}

// ClusterRole is a set of permissions.
// https://kubernetes.io/docs/reference/access-authn-authz/rbac/#role-and-clusterrole
type ClusterRole struct {
	// Name of the ClusterRole; not one that Kubernetes itself has.
	Name string `json:"name" jsonschema:"minLength=1"`
	// Labels of it, beside devenv's own.
	Labels map[string]string `json:"labels,omitempty"`
	// Rules, of which each grants something.
	Rules []Rule `json:"rules" jsonschema:"minItems=1"`
}

// BuiltInRole is a ClusterRole that Kubernetes has by itself, such as view; what
// it grants stays as it is.
type BuiltInRole struct {
	// Name of the ClusterRole: cluster-admin, admin, edit, view.
	Name string `json:"name" jsonschema:"enum=cluster-admin,enum=admin,enum=edit,enum=view"`
	// Labels to add.
	Labels map[string]string `json:"labels"`
}

// Role is a set of permissions in one namespace.
type Role struct {
	// Name of the Role.
	Name string `json:"name" jsonschema:"minLength=1"`
	// Namespace that it is in.
	Namespace string `json:"namespace" jsonschema:"minLength=1"`
	// Labels of it, beside devenv's own.
	Labels map[string]string `json:"labels,omitempty"`
	// Rules, of which each grants something.
	Rules []Rule `json:"rules" jsonschema:"minItems=1"`
}

// Rule grants verbs on resources, or on URLs that are no resources; "*" stands
// for all of a kind.
type Rule struct {
	// APIGroups of the resources, "" for the core group.
	APIGroups []string `json:"apiGroups,omitempty"`
	// Resources by plural name, subresources as in pods/log.
	Resources []string `json:"resources,omitempty"`
	// ResourceNames limits it to objects of these names.
	ResourceNames []string `json:"resourceNames,omitempty"`
	// NonResourceURLs such as /healthz.
	NonResourceURLs []string `json:"nonResourceURLs,omitempty"`
	// Verbs such as get, list and create.
	Verbs []string `json:"verbs" jsonschema:"minItems=1"`
}

// Binding grants one ClusterRole to users and groups, in one namespace or,
// without a namespace, everywhere; or a Role in its namespace.
type Binding struct {
	// Name of the RoleBinding or ClusterRoleBinding.
	Name string `json:"name" jsonschema:"minLength=1"`
	// ClusterRole to grant.
	ClusterRole string `json:"clusterRole,omitempty"`
	// Role to grant, of the binding's namespace.
	Role string `json:"role,omitempty"`
	// Namespace to grant it in; empty for all.
	Namespace string `json:"namespace,omitempty"`
	// Users by the name the API server gives them, prefix included.
	Users []string `json:"users,omitempty"`
	// Groups by the name the API server gives them, prefix included.
	Groups []string `json:"groups,omitempty"`
}

func (m *report) access(path string, a Access) {
	exists := func(p, namespace string) {
		if namespace != "" && !slices.Contains(a.Namespaces, namespace) && !builtInNamespace(namespace) {
			m.add(p+".namespace", "%q is not in %s.namespaces", namespace, path)
		}
	}
	clusterRoles, roles, bindings := seen{}, seen{}, seen{}
	builtIn := seen{}
	for i, r := range a.BuiltInRoles {
		builtIn.once(m, fmt.Sprintf("%s.builtInRoles[%d]", path, i), "", r.Name)
	}
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

// Package profiles says what an environment is: the Environment type, its
// loader and validation, the shipped profiles and every pinned version.
//
// A profile is data. What a known system needs becomes a field that any
// profile can use, never a branch on a profile's name.
package profiles

import (
	"cmp"
)

// APIVersion and Kind stand at the head of every profile.
const (
	APIVersion = "devenv.dev/v1alpha1"
	Kind       = "Environment"
)

// Where the clusters of an environment run.
const (
	RuntimeAuto    = "auto"    // kind where a container engine can run it, else process
	RuntimeKind    = "kind"    // nodes that are containers
	RuntimeProcess = "process" // control planes of plain processes, without pods
)

// Environment is a profile: clusters, the OpenID Connect provider they trust,
// its clients and users, their rights, and what the check proves.
type Environment struct {
	APIVersion string   `json:"apiVersion" jsonschema:"enum=devenv.dev/v1alpha1"`
	Kind       string   `json:"kind" jsonschema:"enum=Environment"`
	Metadata   Metadata `json:"metadata"`
	Spec       Spec     `json:"spec"`
}

// Metadata names a profile.
type Metadata struct {
	// Name of the profile, a DNS label.
	Name string `json:"name" jsonschema:"pattern=^[a-z]([-a-z0-9]{0\\,30}[a-z0-9])?$"`
	// Description in one line, shown by `devenv profiles list`.
	Description string `json:"description,omitempty"`
}

// Spec is everything that makes an environment.
type Spec struct {
	// Runtime is where the clusters run; "auto" when empty.
	Runtime string `json:"runtime,omitempty" jsonschema:"enum=auto,enum=kind,enum=process"`
	// Clusters, at least one. Dex and cert-manager run in the first.
	Clusters []Cluster `json:"clusters" jsonschema:"minItems=1"`
	// Connections from one cluster to another, without any user.
	Connections []Connection `json:"connections,omitempty"`
	// Dex is the OpenID Connect provider.
	Dex Dex `json:"dex"`
	// Endpoints are what pods serve to everybody, as Dex serves the issuer.
	Endpoints []Endpoint `json:"endpoints,omitempty"`
	// Probes are requests that the check makes from inside the clusters.
	Probes []Probe `json:"probes,omitempty"`
	// Share is how `devenv share` gives kubeconfigs to whoever logs in.
	Share *Share `json:"share,omitempty"`
	// CertManager issues Dex's serving certificate and keeps renewing it, where
	// there are pods.
	CertManager CertManager `json:"certManager,omitempty"`
	// Expectations are what the check asks the API server about each user.
	Expectations []Expectation `json:"expectations,omitempty"`
}

// Cluster is one Kubernetes cluster.
type Cluster struct {
	// Name within the environment, a DNS label of at most 20 characters: it is a
	// part of the node's host name.
	Name string `json:"name" jsonschema:"pattern=^[a-z]([-a-z0-9]{0\\,18}[a-z0-9])?$"`
	// KubernetesVersion as in v1.37.0; empty for the pinned default.
	KubernetesVersion string `json:"kubernetesVersion,omitempty" jsonschema:"pattern=^v1\\.[0-9]+\\.[0-9]+$"`
	// Trust says how the API server trusts the provider.
	Trust Trust `json:"trust"`
	// PublicIssuer makes the cluster an issuer for others: the tokens of its
	// service accounts name its address as the others reach it, and everybody may
	// read its discovery document and its keys.
	PublicIssuer bool `json:"publicIssuer,omitempty"`
	// Access is who may do what.
	Access Access `json:"access,omitempty"`
	// Charts to install, in this order.
	Charts []Chart `json:"charts,omitempty"`
	// Objects to apply, in this order and after the charts, as in their YAML.
	// Their strings may have placeholders. Their Deployments must come to run.
	Objects []map[string]any `json:"objects,omitempty"`
}

// Chart is a Helm chart beside those that devenv itself installs.
type Chart struct {
	// Name of the chart; of the release too, if that has none.
	Name    string `json:"name" jsonschema:"minLength=1"`
	Release string `json:"release,omitempty"`
	// Repository is the https address of a chart repository. A sources file may
	// name a folder in its place.
	Repository string `json:"repository" jsonschema:"pattern=^https?://"`
	Version    string `json:"version" jsonschema:"minLength=1"`
	// SHA256 of the chart's archive, in hex; any when empty.
	SHA256 string `json:"sha256,omitempty" jsonschema:"pattern=^[0-9a-f]{64}$"`
	// Namespace of the release; it is created.
	Namespace string `json:"namespace" jsonschema:"minLength=1"`
	// Values of the chart; their strings may have placeholders.
	Values map[string]any `json:"values,omitempty"`
}

// Trust is how an API server comes to trust issuers: one by flags, or any
// number by configuration.
type Trust struct {
	// Flags are kube-apiserver's --oidc-* flags.
	Flags *OIDCFlags `json:"flags,omitempty"`
	// Configuration is a file that the API server reads anew when it changes.
	Configuration *AuthenticationConfiguration `json:"configuration,omitempty"`
}

// OIDCFlags are the kube-apiserver flags of the same names. The issuer URL and
// the CA file are the environment's own.
// https://kubernetes.io/docs/reference/access-authn-authz/authentication/#configuring-the-api-server
type OIDCFlags struct {
	// ClientID is the audience that a token must have: the id of a Dex client.
	ClientID string `json:"clientID" jsonschema:"minLength=1"`
	// UsernameClaim is "sub" when empty, as in the API server.
	UsernameClaim string `json:"usernameClaim,omitempty"`
	// UsernamePrefix stands before every user name; "-" for none. When it is
	// empty the API server uses none for the claim "email", else "<issuer>#".
	UsernamePrefix string `json:"usernamePrefix,omitempty"`
	// GroupsClaim is the claim that lists groups; empty for no groups.
	GroupsClaim string `json:"groupsClaim,omitempty"`
	// GroupsPrefix stands before every group name.
	GroupsPrefix string `json:"groupsPrefix,omitempty"`
}

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

// ClusterRole is a set of rights.
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

// Role is a set of rights in one namespace.
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

// CertManager configures cert-manager.
type CertManager struct {
	// Values are laid over devenv's own chart values.
	Values map[string]any `json:"values,omitempty"`
}

// Dex configures the provider.
type Dex struct {
	// Version of Dex by its pin; that of the pinned chart when empty.
	Version string `json:"version,omitempty"`
	// Port of the issuer, the same on the host's loopback, on the node and in
	// the cluster; one that is free when 0.
	Port int `json:"port,omitempty" jsonschema:"minimum=30000,maximum=32767"`
	// IDTokenLifetime as a Go duration; "1h" when empty.
	IDTokenLifetime string `json:"idTokenLifetime,omitempty"`
	// Values are laid over devenv's own chart values. Without pods only the value
	// "config" counts, Dex's own configuration.
	Values map[string]any `json:"values,omitempty"`
	// Clients of the provider.
	Clients []Client `json:"clients" jsonschema:"minItems=1"`
	// Users with a password in Dex's own database.
	Users []User `json:"users" jsonschema:"minItems=1"`
}

// Share is a link that leads through Dex's login page to a kubeconfig.
type Share struct {
	// Client that the link logs in with, and that a cluster trusts. The link
	// becomes one of its redirect URIs.
	Client string `json:"client" jsonschema:"minLength=1"`
	// Path of the link; "/kubeconfig" when empty.
	Path string `json:"path,omitempty" jsonschema:"pattern=^/[-a-zA-Z0-9/_.]+$"`
}

// Client is an OAuth 2.0 client.
type Client struct {
	// ID of the client, the audience of its tokens.
	ID string `json:"id" jsonschema:"minLength=1"`
	// Name shown on the approval page; the id when empty.
	Name string `json:"name,omitempty"`
	// Public clients have no secret.
	Public bool `json:"public,omitempty"`
	// Secret of a confidential client; random per environment when empty.
	Secret string `json:"secret,omitempty"`
	// RedirectURIs that the authorization code flow may return to; one with a
	// port on localhost for the grant browser, "/device/callback" for device.
	RedirectURIs []string `json:"redirectURIs,omitempty"`
	// TrustedPeers are clients that may ask for tokens with this one's audience.
	TrustedPeers []string `json:"trustedPeers,omitempty"`
	// Grants that the client is meant for; that it can be used for them is
	// checked beforehand.
	Grants []string `json:"grants,omitempty" jsonschema:"enum=password,enum=browser,enum=device,enum=client-credentials"`
}

// User is a person with a password.
type User struct {
	// Email is the login, and by itself the user's identity in Dex.
	Email string `json:"email" jsonschema:"pattern=^[^@\\s]+@[^@\\s]+$"`
	// Username is the display name; the part before the @ when empty.
	Username string `json:"username,omitempty"`
	// Groups for the groups claim.
	Groups []string `json:"groups,omitempty"`
	// Password; random per environment when empty.
	Password string `json:"password,omitempty"`
	// EmailVerified is the claim email_verified; true when absent.
	EmailVerified *bool `json:"emailVerified,omitempty"`
}

// Expectation is what one user can and cannot do in one cluster.
//
// An action reads `VERB RESOURCE[/NAME] [in NAMESPACE]`, as in "list pods",
// "create deployments.apps in demo" or "get secrets/token in kube-system".
// Without a namespace it means everywhere.
type Expectation struct {
	// User by e-mail.
	User string `json:"user"`
	// Cluster by name; the first when empty.
	Cluster string `json:"cluster,omitempty"`
	// Username that the API server must give the user. Where it is made by a
	// claim devenv knows it by itself.
	Username string `json:"username,omitempty"`
	// Claims that the user's id token must have, as they are in it: e-mail,
	// email_verified, aud. That iss is the issuer is proven in any case.
	Claims map[string]any `json:"claims,omitempty"`
	// Can lists the actions that must be allowed.
	Can []string `json:"can,omitempty"`
	// Cannot lists the actions that must be refused with 403.
	Cannot []string `json:"cannot,omitempty"`
	// Trial is a binding that the check adds and removes.
	Trial *Trial `json:"trial,omitempty"`
}

// Trial grants a user a ClusterRole while the check asks: what they can do then
// must be refused before and after it.
type Trial struct {
	// ClusterRole to grant.
	ClusterRole string `json:"clusterRole" jsonschema:"minLength=1"`
	// Namespace to grant it in; empty for all.
	Namespace string `json:"namespace,omitempty"`
	// Can lists the actions that it must allow.
	Can []string `json:"can" jsonschema:"minItems=1"`
}

// Cluster returns the cluster of that name, or nil.
func (e *Environment) Cluster(name string) *Cluster {
	for i := range e.Spec.Clusters {
		if e.Spec.Clusters[i].Name == name {
			return &e.Spec.Clusters[i]
		}
	}
	return nil
}

// User returns the user with that e-mail, or nil.
func (e *Environment) User(email string) *User {
	for i := range e.Spec.Dex.Users {
		if e.Spec.Dex.Users[i].Email == email {
			return &e.Spec.Dex.Users[i]
		}
	}
	return nil
}

// Client returns the client with that id, or nil.
func (e *Environment) Client(id string) *Client {
	for i := range e.Spec.Dex.Clients {
		if e.Spec.Dex.Clients[i].ID == id {
			return &e.Spec.Dex.Clients[i]
		}
	}
	return nil
}

// setDefaults fills what a profile may leave out.
func (e *Environment) setDefaults() {
	if e.Spec.Runtime == "" {
		e.Spec.Runtime = RuntimeAuto
	}
	if e.Spec.Dex.IDTokenLifetime == "" {
		e.Spec.Dex.IDTokenLifetime = "1h"
	}
	for i := range e.Spec.Probes {
		p := &e.Spec.Probes[i]
		p.CA = cmp.Or(p.CA, "${ca}")
		p.Status = cmp.Or(p.Status, 200)
	}
	for i := range e.Spec.Clusters {
		c := &e.Spec.Clusters[i]
		for j := range c.Charts {
			c.Charts[j].Release = cmp.Or(c.Charts[j].Release, c.Charts[j].Name)
		}
		if c.KubernetesVersion == "" {
			c.KubernetesVersion = Pinned().DefaultKubernetes
		}
	}
	for i := range e.Spec.Dex.Users {
		u := &e.Spec.Dex.Users[i]
		if u.Username == "" {
			u.Username, _, _ = cutLast(u.Email, "@")
		}
		if u.EmailVerified == nil {
			u.EmailVerified = new(true)
		}
	}
	for i := range e.Spec.Dex.Clients {
		if c := &e.Spec.Dex.Clients[i]; c.Name == "" {
			c.Name = c.ID
		}
	}
	if s := e.Spec.Share; s != nil {
		s.Path = cmp.Or(s.Path, "/kubeconfig")
	}
	for i := range e.Spec.Connections {
		c := &e.Spec.Connections[i]
		c.TokenLifetime = cmp.Or(c.TokenLifetime, "1h")
		c.KubeconfigKey = cmp.Or(c.KubeconfigKey, "kubeconfig")
	}
	for i := range e.Spec.Expectations {
		if x := &e.Spec.Expectations[i]; x.Cluster == "" && len(e.Spec.Clusters) > 0 {
			x.Cluster = e.Spec.Clusters[0].Name
		}
	}
}

package profiles

// Cluster is one Kubernetes cluster.
type Cluster struct {
	// Name within the environment, a DNS label of at most 20 characters: it is a
	// part of the node's host name.
	Name string `json:"name" jsonschema:"pattern=^[a-z]([-a-z0-9]{0\\,18}[a-z0-9])?$"`
	// KubernetesVersion as in v1.37.0; empty for the pinned default.
	KubernetesVersion string `json:"kubernetesVersion,omitempty" jsonschema:"pattern=^v1\\.[0-9]+\\.[0-9]+$"`
	Nodes
	// Trust says how the API server trusts the provider.
	Trust Trust `json:"trust"`
	// PublicIssuer makes the cluster an issuer for others: the tokens of its
	// service accounts name its address as the others reach it, and everybody may
	// read its discovery document and its keys.
	PublicIssuer bool `json:"publicIssuer,omitempty"`
	// Access is who is allowed to do what.
	Access Access `json:"access,omitempty"`
	// Images to put into every node before anything of the profile runs: names of
	// images that the container engine has, or paths of archives (what docker save
	// writes, or an OCI layout). What was built anew is loaded anew by each up.
	Images []string `json:"images,omitempty" jsonschema:"minLength=1"`
	// Manifests to apply before charts and objects, in this order.
	Manifests []Manifest `json:"manifests,omitempty"`
	// Charts to install, in this order.
	Charts []Chart `json:"charts,omitempty"`
	// Objects to apply, in this order and after the charts, as in their YAML.
	// Their strings may have placeholders. What has pods must come to run, Jobs
	// must complete, and the conditions of other kinds must become good.
	Objects []map[string]any `json:"objects,omitempty"`
}

// Manifest is objects at an address, as guides have people apply them with
// kubectl: a YAML file (url and sha256), or a file, a folder or a kustomization
// of a git repository (repository, commit and path). Definitions of kinds in it
// are applied first, and waited for; it is waited for as for objects. It has no
// placeholders.
type Manifest struct {
	// URL is the address of a file. A sources file may name a file in its place.
	URL string `json:"url,omitempty" jsonschema:"pattern=^https?://"`
	// SHA256 of the file at URL, in hex.
	SHA256 string `json:"sha256,omitempty" jsonschema:"pattern=^[0-9a-f]{64}$"`
	// Repository is the address of a git repository. A sources file may name a
	// folder in its place, which is not verified.
	Repository string `json:"repository,omitempty" jsonschema:"pattern=^(https?|file)://"`
	// Commit in the repository, all 40 digits: its hash verifies every file.
	Commit string `json:"commit,omitempty" jsonschema:"pattern=^[0-9a-f]{40}$"`
	// Path in the repository of a file, of a folder of *.yaml, or of a folder with
	// a kustomization; the repository's own folder when empty.
	Path string `json:"path,omitempty"`
}

// Address is what a manifest is called in messages and in a sources file: its
// URL, or its repository.
func (m Manifest) Address() string {
	if m.URL != "" {
		return m.URL
	}
	return m.Repository
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
	// Configuration is a file that the API server reloads when it changes.
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

package profiles

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestEveryShippedProfileIsValid(t *testing.T) {
	names := Names()
	if len(names) == 0 {
		t.Fatal("none is shipped")
	}
	for _, name := range names {
		p, err := Load(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p.Metadata.Name != name || p.Metadata.Description == "" {
			t.Errorf("%s: name %q, description %q", name, p.Metadata.Name, p.Metadata.Description)
		}
	}
}

func TestPinsHaveDigests(t *testing.T) {
	sha := regexp.MustCompile(`^[0-9a-f]{64}$`)
	digest := regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	p := Pinned()
	if _, ok := p.NodeImages[p.DefaultKubernetes]; !ok {
		t.Errorf("no node image for the default, %s", p.DefaultKubernetes)
	}
	for version, n := range p.NodeImages {
		if _, d, _ := strings.Cut(n.Image, "@"); !digest.MatchString(d) {
			t.Errorf("node image %s: no digest in %s", version, n.Image)
		}
	}
	for name, c := range p.Charts {
		if !sha.MatchString(c.SHA256) || c.Version == "" || !strings.HasPrefix(c.Repository, "https://") {
			t.Errorf("chart %s: %+v", name, c)
		}
		for key, image := range c.Images {
			if !digest.MatchString(image.Digest) {
				t.Errorf("chart %s, image %q: no digest", name, key)
			}
		}
	}
}

func TestSourcesAreLaidOverThePins(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sources.yaml")
	text := "nodeImages:\n  v1.37.0: {image: 'own/node:1', archive: node.tar}\ncharts:\n  dex: {path: charts/dex, version: 0.24.0, images: {'': {repository: own/dex, tag: v1, archive: /abs/dex.tar}}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := PinnedWith(file)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Dir(file)
	if n := p.NodeImages["v1.37.0"]; n.Image != "own/node:1" || n.Archive != filepath.Join(folder, "node.tar") {
		t.Errorf("node image %+v", n)
	}
	if c := p.Charts["dex"]; c.Path != filepath.Join(folder, "charts/dex") || c.Images[""].Archive != "/abs/dex.tar" {
		t.Errorf("chart %+v", c)
	}
	if c := p.Charts["dex"]; c.SHA256 != "" || c.Repository != Pinned().Charts["dex"].Repository {
		t.Errorf("chart %+v", c)
	}
	if c := p.Charts["cert-manager"]; c.Version != Pinned().Charts["cert-manager"].Version {
		t.Errorf("chart %+v", c)
	}
	if n := Pinned().NodeImages["v1.37.0"]; n.Archive != "" {
		t.Error("the pins themselves were changed")
	}
	if err := os.WriteFile(file, []byte("chart: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := PinnedWith(file); err == nil || !strings.Contains(err.Error(), `unknown field "chart"`) {
		t.Errorf("a wrong field gave %v", err)
	}
}

func TestParseAction(t *testing.T) {
	for text, want := range map[string]Action{
		"list pods":                             {Verb: "list", Resource: "pods"},
		"create deployments.apps in demo":       {Verb: "create", Resource: "deployments", Group: "apps", Namespace: "demo"},
		"get secrets/token in kube-system":      {Verb: "get", Resource: "secrets", Name: "token", Namespace: "kube-system"},
		"get roles.rbac.authorization.k8s.io/x": {Verb: "get", Resource: "roles", Group: "rbac.authorization.k8s.io", Name: "x"},
	} {
		got, err := ParseAction(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%q: %+v, %v, written %q", text, got, err, got)
		}
	}
	for _, text := range []string{"", "list", "list pods demo", "list pods on demo", "list pods in demo now"} {
		if _, err := ParseAction(text); err == nil {
			t.Errorf("%q is taken for an action", text)
		}
	}
}

func TestNearest(t *testing.T) {
	for name, want := range map[string]string{"defualt": "default", "deflt": "default", "greenhous": "greenhouse", "x": "", "something-else": ""} {
		if got := Nearest(name, []string{"default", "greenhouse"}); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestSetKeepsTypes(t *testing.T) {
	p, err := Load("default",
		"spec.clusters[0].trust.flags.groupsPrefix=oidc:",
		"spec.clusters[0].trust.flags.usernamePrefix=-",
		"spec.dex.port=30123",
		"spec.dex.users[4]={email: new@example.com, emailVerified: false}",
		"spec.dex.users[3].groups=[a, b]",
		"spec.dex.clients[2]={id: third, public: true}",
		"spec.dex.values.replicaCount=2")
	if err != nil {
		t.Fatal(err)
	}
	u := p.User("guest@example.com")
	if p.Spec.Clusters[0].Trust.Flags.GroupsPrefix != "oidc:" || p.Spec.Clusters[0].Trust.Flags.UsernamePrefix != "-" || p.Spec.Dex.Port != 30123 || *p.User("new@example.com").EmailVerified || len(u.Groups) != 2 ||
		p.Client("third") == nil || p.Spec.Dex.Values["replicaCount"] != 2.0 {
		t.Errorf("%+v", p.Spec)
	}
}

// Each mistake alone, so that none hides behind another.
func TestMistakes(t *testing.T) {
	for set, want := range map[string]string{
		"spec.clusters[0].trust={}": "spec.clusters[0].trust: says nothing",
		"spec.clusters[1]={name: main, trust: {flags: {clientID: kubernetes}}}": `spec.clusters[1].name: "main" stands there twice`,
		"spec.clusters[0].kubernetesVersion=1.37":                               "spec.clusters[0].kubernetesVersion: ",
		"spec.dex.clients[0].secret=x":                                          "spec.dex.clients[0].secret: a public client has none",
		"spec.dex.clients[1].redirectURIs=[callback]":                           "spec.dex.clients[1].redirectURIs[0]: ",
		"spec.dex.clients[1].trustedPeers=[nobody]":                             `spec.dex.clients[1].trustedPeers[0]: there is no client "nobody"`,
		"spec.dex.users[1].email=ADMIN@example.com":                             `spec.dex.users[1].email: "ADMIN@example.com" stands there twice`,
		"spec.dex.users[0].password=" + strings.Repeat("x", 73):                 "spec.dex.users[0].password: is longer than bcrypt's 72 bytes",
		"spec.dex.port=80":                                                   "spec.dex.port: ",
		"spec.dex.users=[]":                                                  "spec.dex.users: ",
		"spec.expectations[0].user=admn@example.com":                         `spec.expectations[0].user: there is no user "admn@example.com" in spec.dex.users, did you mean "admin@example.com"?`,
		"spec.dex.users[3].emailVerified=false":                              `spec.expectations[3].user: the e-mail of "guest@example.com" is not verified`,
		"spec.expectations[0].cluster=other":                                 `spec.expectations[0].cluster: there is no cluster "other"`,
		"spec.expectations[0].user={}":                                       "spec.expectations[0].user: ",
		"spec.clusters[0].manifests=[{}]":                                    "spec.clusters[0].manifests[0]: has no address",
		"spec.clusters[0].manifests=[{url: 'https://example.com/a.yaml'}]":   "spec.clusters[0].manifests[0].sha256: is missing",
		"spec.clusters[0].manifests=[{repository: 'https://example.com/a'}]": "spec.clusters[0].manifests[0].commit: is missing",
		"spec.clusters[0].manifests=[{repository: 'https://example.com/a', url: 'https://example.com/a.yaml'}]":                       "not both",
		"spec.clusters[0].manifests=[{repository: 'https://example.com/a', commit: 5f1c}]":                                            "spec.clusters[0].manifests[0].commit: ",
		"spec.serviceBindings=[{endpoint: a, cluster: main, user: dev@example.com, group: g, resource: r, cookie: c, signingKey: k}]": `spec.serviceBindings[0].endpoint: there is no endpoint "a"`,
		"spec.serviceBindings=[{endpoint: a, cluster: b, user: dev@example.com, group: g, resource: r, cookie: c, signingKey: k}]":    `spec.serviceBindings[0].cluster: there is no cluster "b"`,
		"spec.serviceBindings=[{endpoint: a, cluster: main, user: x@example.com, group: g, resource: r, cookie: c, signingKey: k}]":   `spec.serviceBindings[0].user: there is no user "x@example.com"`,
		"spec.clusters[0].controlPlanes=0":                                                                                      "spec.clusters[0].controlPlanes: ",
		"spec.clusters[0].controlPlanes=3":                                                                                      "spec.clusters[0].workers: is 0, and pods do not run on several control planes",
		"spec.clusters[0].sparePorts=-1":                                                                                        "spec.clusters[0].sparePorts: ",
		"spec.endpoints=[{name: web, cluster: main, namespace: demo, service: web}]":                                            "spec.endpoints[0]: has either selector and targetPort",
		"spec.clusters[0].workers=-1":                                                                                           "spec.clusters[0].workers: ",
		"spec.clusters[0].extraPortMappings=[{containerPort: 6443}]":                                                            "spec.clusters[0].extraPortMappings[0].containerPort: 6443 is the API server's",
		"spec.clusters[0].extraPortMappings=[{containerPort: 1, hostPort: 2}, {containerPort: 3, hostPort: 2}]":                 "spec.clusters[0].extraPortMappings[1].hostPort: 2 is that of extraPortMappings[0] of cluster main, too",
		"spec.clusters[0].extraMounts=[{hostPath: /tmp, containerPath: /etc/devenv/x}]":                                         "spec.clusters[0].extraMounts[0].containerPath: devenv has its own files in /etc/devenv",
		"spec.clusters[0].extraMounts=[{hostPath: /tmp, containerPath: /etc}]":                                                  "spec.clusters[0].extraMounts[0].containerPath: devenv has its own",
		`spec.clusters[0].kubeadmConfigPatches=["kind: ClusterConfiguration\napiServer: {extraArgs: {oidc-client-id: x}}"]`:     "spec.clusters[0].kubeadmConfigPatches[0]: apiServer.extraArgs.oidc-client-id is devenv's; use trust.flags",
		`spec.clusters[0].kubeadmConfigPatches=["kind: ClusterConfiguration\napiServer: {extraArgs: [{name: v, value: '5'}]}"]`: "apiServer.extraArgs must be a map",
		`spec.clusters[0].kubeadmConfigPatches=["kind: ClusterConfiguration\nscheduler: {extraArgs: {leader-elect: 'true'}}"]`:  "scheduler.extraArgs.leader-elect is devenv's",
		`spec.clusters[0].kubeadmConfigPatches=["kind: ClusterConfiguration\napiServer: {extraVolumes: []}"]`:                   "apiServer.extraVolumes is devenv's",
		`spec.clusters[0].kubeadmConfigPatches=["kind: InitConfiguration\npatches: {directory: /x}"]`:                           "patches of InitConfiguration are devenv's",
		`spec.clusters[0].kubeadmConfigPatches=["kind: Other"]`:                                                                 `kind "Other" is none of ClusterConfiguration`,
		`spec.clusters[0].kubeadmConfigPatches=["- a"]`:                                                                         "it is no YAML document",
		"spec.clusters[0].kind.name=other":                                                                                      "spec.clusters[0].kind.name: devenv names its clusters",
		"spec.clusters[0].kind.nodes=[]":                                                                                        "spec.clusters[0].kind.nodes: use controlPlanes",
		"spec.clusters[0].kind.networking.apiServerPort=6443":                                                                   "spec.clusters[0].kind.networking.apiServerPort: devenv chooses it",
		"spec.clusters[0].images=['']":                                                                                          "spec.clusters[0].images[0]",
		"spec.dex.connectors=[{type: oidc, id: local}]":                                                                         `spec.dex.connectors[0].id: "local" stands there twice, or is Dex's own database`,
		"spec.dex.connectors=[{type: oidc, id: a, users: [{email: admin@example.com}]}]":                                        `spec.dex.connectors[0].users[0].email: "admin@example.com" stands there twice`,
		"spec.dex.connectors=[{type: oidc, id: a, config: {redirectURI: '${issuers}'}}]":                                        "spec.dex.connectors[0].config: there is no placeholder ${issuers}",
		"spec.dex.values.config={frontend: {issuer: '${x}'}}":                                                                   "spec.dex.values.config: there is no placeholder ${x}",
		"spec.expectations[0].user=nobody@example.com":                                                                          `spec.expectations[0].user: there is no user "nobody@example.com"`,
		"spec.dex.connectors=[{type: oidc, id: a, users: [{email: x@example.com}]}]":                                            "spec.dex.connectors[0].users[0].password: is missing",
		"spec.clusters[0].trust.flags.groupsPrefix=${x}:":                                                                       "spec.clusters[0].trust: there is no placeholder ${x}",
		"spec.clusters[0].trust.flags.groupsPrefix=${clusters.main.ca}":                                                         "${clusters.main.ca} is not known before the clusters run",
		"spec.dex.users[0].token={file: x}":                                                                                     "spec.dex.users[0].token: is for users of spec.issuer",
		"kind=Environmnt":                                                                                                       "kind: ",
		"spec.dexx={}":                                                                                                          `spec.dexx: unknown field, did you mean "dex"?`,
	} {
		_, err := Load("default", set)
		var invalid *InvalidError
		if !errors.As(err, &invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("--set %s: %v\nwant %q", set, err, want)
		}
	}
}

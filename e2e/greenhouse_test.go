package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A cluster reaches another by a service account's token, from the kubeconfig in
// a Secret alone.
func TestGreenhouse(t *testing.T) {
	t.Parallel()
	onEach(t, "greenhouse", func(t *testing.T, name string) {
		const subject = "system:serviceaccount:my-organization:my-cluster"
		devenv(t, "check", "--name", name).wants(t, 0,
			"✓ central → remote: my-cluster is greenhouse:"+subject+" in remote",
			"✓ central → remote: kubectl version as my-cluster  (the server is v1.37.0)",
			"✓ central → remote: another service account cannot list nodes",
			"✓ central → remote: rejected: a token of my-cluster for another audience",
			"✓ remote: admin@example.com can list pods", ", 0 failed")
		s := statusOf(t, name)
		if len(s.Clusters) != 2 || len(s.Connections) != 1 || s.Connections[0].Secret != "my-organization/my-cluster" {
			t.Fatalf("the status is %+v", s)
		}
		central := s.Clusters[0].Kubeconfig
		first := secretOf(t, central)
		if first.Type != "greenhouse.sap/oidc" || !strings.HasPrefix(first.Metadata.Annotations["oidc.greenhouse.sap/api-server-url"], "https://") {
			t.Errorf("the Secret is %+v", first)
		}
		pem, err := base64.StdEncoding.DecodeString(string(first.Data["ca.crt"]))
		if err != nil || !bytes.HasPrefix(pem, []byte("-----BEGIN CERTIFICATE-----")) {
			t.Errorf("ca.crt is not encoded twice: %q, %v", pem, err)
		}
		owner, err := kubectl(t, central, "get", "serviceaccount", "my-cluster", "--namespace=my-organization", "--output=jsonpath={.metadata.ownerReferences[0].kind} {.metadata.ownerReferences[0].name}")
		if err != nil || owner != "Secret my-cluster" {
			t.Errorf("the service account is owned by %q, %v", owner, err)
		}
		reach := func(s secret, args ...string) (string, error) { return fromCentral(t, name, s, args...) }
		nodes, err := reach(first, "get", "nodes", `--output=jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}`)
		if err != nil || strings.HasSuffix(name, "kind") && nodes != "True" {
			t.Errorf("the nodes of the remote cluster: %q, %v", nodes, err)
		}

		must(t, "rotate", "--name", name, "my-cluster")
		second := secretOf(t, central)
		if bytes.Equal(first.Data["greenhousekubeconfig"], second.Data["greenhousekubeconfig"]) {
			t.Error("the kubeconfig did not change")
		}
		if _, err := reach(second, "get", "--raw=/version"); err != nil {
			t.Errorf("with the new kubeconfig: %v", err)
		}
		up := []string{"up", "--name", name, "--profile", "greenhouse"}
		again := append(up, exposed(t, name)...)
		r := must(t, again...)
		if !strings.Contains(r.stderr, "· Connect cluster central to remote") {
			t.Errorf("a good token was replaced:\n%s", r.stderr)
		}
		if strings.HasSuffix(name, "kind") {
			restartNodes(t, name)
			return
		}
		devenv(t, "rotate", "--name", name, "nobody").wants(t, 2, `there is no connection "nobody"`)

		// for another user, and with another prefix: who is who, but nobody may
		devenv(t, append(up, "--set", "spec.clusters[1].access.bindings[0].users=[greenhouse:system:serviceaccount:my-organization:another]")...).
			wants(t, 5, "central → remote: my-cluster can list nodes: it is forbidden")
		if _, err := reach(second, "get", "nodes"); err == nil || !strings.Contains(err.Error(), `User "greenhouse:`+subject+`" cannot list`) {
			t.Errorf("without the binding: %v", err)
		}
		devenv(t, append(up, "--set", `spec.clusters[1].trust.configuration.jwt[0].claimMappings.username.prefix="other:"`)...).
			wants(t, 5, "central → remote: my-cluster can list nodes: it is forbidden")
		if _, err := reach(second, "get", "nodes"); err == nil || !strings.Contains(err.Error(), `User "other:`+subject+`" cannot list`) {
			t.Errorf("with another prefix: %v", err)
		}
		must(t, up...)
		if _, err := reach(second, "get", "nodes"); err != nil {
			t.Errorf("with everything put back: %v", err)
		}
	})
}

type secret struct {
	Type     string
	Metadata struct{ Annotations map[string]string }
	Data     map[string][]byte
}

func secretOf(t *testing.T, kubeconfig string) (s secret) {
	t.Helper()
	text, err := kubectl(t, kubeconfig, "get", "secret", "my-cluster", "--namespace=my-organization", "--output=json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// fromCentral runs kubectl where the central cluster is: in its node, or here.
func fromCentral(t *testing.T, name string, s secret, args ...string) (string, error) {
	t.Helper()
	if !strings.HasSuffix(name, "kind") {
		return kubectl(t, write(t, "greenhouse", string(s.Data["greenhousekubeconfig"])), args...)
	}
	c := exec.Command("docker", append([]string{"exec", "-i", "devenv-" + name + "-central-control-plane", "kubectl", "--kubeconfig=/dev/stdin"}, args...)...)
	c.Stdin = bytes.NewReader(s.Data["greenhousekubeconfig"])
	out, err := c.CombinedOutput()
	return string(out), err
}

// restartNodes stops both nodes and starts the remote one first, so that it may
// get the central one's address, and has the check find everything again.
func restartNodes(t *testing.T, name string) {
	t.Helper()
	central, remote := "devenv-"+name+"-central-control-plane", "devenv-"+name+"-remote-control-plane"
	address := func() string {
		return docker(t, "inspect", "--format={{.NetworkSettings.Networks.kind.IPAddress}}", central)
	}
	before := address()
	docker(t, "stop", "--time=5", central, remote)
	docker(t, "start", remote)
	docker(t, "start", central)
	t.Logf("the central node was at %s and is at %s", before, address())
	eventually(t, "everything to be as before, after a restart of both nodes", 3*time.Minute, func() error {
		if r := devenv(t, "check", "--name", name); r.code != 0 {
			return errors.New(r.stderr)
		}
		return nil
	})
}

// exposed exposes a Service of the first cluster, and returns what asks for it from
// the pods of both.
func exposed(t *testing.T, name string) (set []string) {
	t.Helper()
	if strings.HasSuffix(name, "process") {
		devenv(t, "expose", "web", "--name", name).wants(t, 2, "plain processes, which have no Services")
		return nil
	}
	expose := func(args ...string) result {
		return devenv(t, append([]string{"expose", "--name", name, "--namespace", "dex"}, args...)...)
	}
	expose("dexx").wants(t, 2, `there is no Service "dexx" in namespace "dex"`, "dex/dex-issuer")
	expose("dex").wants(t, 2, "has several ports, name one by --port", "5558 telemetry")
	expose("dex", "--port", "telemetry").wants(t, 2, `"dex" is a name of devenv's own`)
	expose("dex", "--port", "https", "--as", "web").wants(t, 2, "speaks https by itself")
	url := strings.TrimSpace(expose("dex", "--port", "telemetry", "--as", "web").stdout)
	expose("dex", "--port", "5558", "--as", "web").wants(t, 0, "exposed already", url)
	expose("dex", "--port", "http", "--as", "web").wants(t, 2, `there is already another endpoint "web"`, "hint: give this one another name")
	s := statusOf(t, name)
	if len(s.Endpoints) != 1 || s.Endpoints[0].URL != url || !strings.HasPrefix(url, "https://web."+name+".localhost:") || len(s.Differences) > 0 {
		t.Errorf("exposed at %q: %+v, %v", url, s.Endpoints, s.Differences)
	}
	if out, err := exec.Command("curl", "--silent", "--show-error", "--cacert", s.Endpoints[0].CAFile, "--resolve", strings.TrimPrefix(url, "https://")+":127.0.0.1", url+"/healthz").CombinedOutput(); err != nil || !bytes.Contains(out, []byte(`"storage"`)) {
		t.Errorf("from the host: %v: %s", err, out)
	}
	mustKubectl(t, s.Clusters[0].Kubeconfig, "--namespace=dex", "create", "service", "clusterip", "empty", "--tcp=80:80")
	expose("empty").wants(t, 4, "is exposed at https://empty.", "502 Bad Gateway: the Service dex/empty does not answer at port 80")
	expose("dex", "--port", "http", "--as", "more").wants(t, 2, "has no spare port left", "hint: put away another endpoint")
	must(t, "expose", "--name", name, "--remove", "empty")
	expose("--remove", "empty").wants(t, 2, `nothing is exposed as "empty"`, `hint: there is "web": Service dex/dex`)
	probe := func(from string) string { return "{name: exposed, from: " + from + ", url: '" + url + "/healthz'}" }
	return []string{"--set", "spec.probes=[" + probe("central") + ", " + probe("remote") + "]"}
}

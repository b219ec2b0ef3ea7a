package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// Two control planes behind a load balancer and a worker, with everything that a
// profile can say of nodes; Dex's pod is not where the API servers are.
func TestNodes(t *testing.T) {
	t.Parallel()
	const name = "e2e-nodes"
	mounted, port := write(t, "mounted", "from the host"), freePorts(t, 1)[0]
	set := func(fields ...string) []string {
		args := []string{"up", "--name", name, "--runtime", "kind",
			"--set", "spec.endpoints=[{name: web, cluster: main, namespace: dex, service: dex, port: 5558}]", // which a proxy serves
			"--set", "spec.probes=[{name: the endpoint answers, from: main, url: '${endpoints.web.url}/healthz'}]"}
		for _, f := range fields {
			args = append(args, "--set", "spec.clusters[0]."+f)
		}
		return args
	}
	fields := []string{
		"controlPlanes=2", "workers=1", "sparePorts=1",
		"image=" + nodeImage(t),
		fmt.Sprintf("extraPortMappings=[{containerPort: 30080, hostPort: %d}]", port),
		"extraMounts=[{hostPath: " + mounted + ", containerPath: /data/mounted, readOnly: true}]",
		"featureGates={AllAlpha: false}",
		`kubeadmConfigPatches=["kind: ClusterConfiguration\napiServer: {extraArgs: {event-ttl: 30m}}", "kind: KubeletConfiguration\nmaxPods: 77"]`,
		`kind={runtimeConfig: {api/alpha: "false"}}`,
	}
	must(t, set(fields...)...).wants(t, 0, "ready and proven")
	worker := "devenv-" + name + "-main-worker"
	s := statusOf(t, name)
	admin := s.Clusters[0].Kubeconfig
	if out := mustKubectl(t, admin, "get", "nodes", "--output=jsonpath={range .items[*]}{.metadata.name} {.status.capacity.pods};{end}"); out != node(name)+" 77;"+node(name)+"2 77;"+worker+" 77;" {
		t.Errorf("nodes: %s", out)
	}
	if out := mustKubectl(t, admin, "--namespace=dex", "get", "pods", "--output=jsonpath={.items[*].spec.nodeName}"); strings.ReplaceAll(out, worker, "") != strings.Repeat(" ", len(strings.Fields(out))-1) {
		t.Errorf("Dex runs on %s", out)
	}
	command := mustKubectl(t, admin, "--namespace=kube-system", "get", "pods", "--selector=component=kube-apiserver", "--output=jsonpath={.items[*].spec.containers[0].command}")
	for _, flag := range []string{"--event-ttl=30m", "--runtime-config=api/alpha=false", "--feature-gates=AllAlpha=false", "--oidc-client-id=kubernetes"} {
		if strings.Count(command, flag) != 2 {
			t.Errorf("the API servers have no %s: %s", flag, command)
		}
	}
	for _, n := range []string{node(name), node(name) + "2", worker} {
		if out := docker(t, "exec", n, "cat", "/data/mounted"); out != "from the host" {
			t.Errorf("in %s: %q", n, out)
		}
	}
	// the API server's own, the issuer's, the endpoint's, the spare one, and this
	if out := docker(t, "port", node(name)); len(strings.Split(out, "\n")) != 5 {
		t.Errorf("the node has the ports\n%s", out)
	}
	if out := docker(t, "exec", node(name), "systemctl", "is-active", "devenv-patience"); out != "active" {
		t.Errorf("what holds calls for the issuer is %s", out)
	}
	if out := docker(t, "port", node(name), "30080"); strings.TrimSpace(out) != "127.0.0.1:"+strconv.Itoa(port) {
		t.Errorf("the port is on %q", out)
	}

	must(t, set(fields...)...).wants(t, 0, "· Start node of cluster main", "· Load images into node", "ready and proven")
	if out := must(t, "kubeconfig", "--name", name).stdout; !strings.Contains(out, "server: "+s.Clusters[0].Server) {
		t.Errorf("the kubeconfig does not name the load balancer, %s:\n%s", s.Clusters[0].Server, out)
	}
	devenv(t, set(append(fields, "workers=2", "controlPlanes=3")...)...).wants(t, 2, "spec.clusters[0].controlPlanes: 2 → 3", "cannot be changed in it", "spec.clusters[0].workers: 1 → 2", "hint: recreate it")
	docker(t, "stop", "--time=0", worker)
	devenv(t, "status", "--name", name).wants(t, 0, "cluster main is broken")
	must(t, set(fields...)...).wants(t, 0, "✓ Start node of cluster main", "ready and proven")
	// etcd knows its members by addresses that the engine may have given away
	docker(t, "stop", "--time=0", node(name), node(name)+"2", worker, "devenv-"+name+"-main-external-load-balancer")
	devenv(t, "status", "--name", name).wants(t, 0, "cluster main is stopped")
	if r := devenv(t, set(fields...)...); r.code == 0 {
		r.wants(t, 0, "✓ Start node of cluster main", "ready and proven")
	} else {
		r.wants(t, 4, "by which the other control planes know it", "hint: recreate the environment")
	}
	docker(t, "rm", "--force", "--volumes", worker)
	devenv(t, set(fields...)...).wants(t, 4, "the node "+worker+" is gone", "hint: recreate the environment, its data will be lost: devenv up --recreate --name "+name)
	docker(t, "rm", "--force", "--volumes", node(name), node(name)+"2") // and the load balancer is all there is
	must(t, "down", "--name", name)
	nothingLeft(t, name)
	if out := docker(t, "ps", "--all", "--quiet", "--filter=name=devenv-"+name); out != "" {
		t.Errorf("containers are left: %s", out)
	}

	devenv(t, set("image=devenv-e2e/absent:1")...).wants(t, 3, "devenv-e2e/absent:1", "hint: fetch it yourself and run the command again: docker pull devenv-e2e/absent:1")
	must(t, "down", "--name", name)
	// what plain processes cannot have
	devenv(t, "up", "--name", name, "--runtime", "process", "--set", "spec.clusters[0].workers=1").wants(t, 2, "plain processes have none: spec.clusters[0].workers")
	// a taken port is named before there is a node
	l := listen(t)
	devenv(t, set(fmt.Sprintf("extraPortMappings=[{containerPort: 30080, hostPort: %d}]", portOf(l)))...).wants(t, 3, fmt.Sprintf("port %d on 127.0.0.1 is taken", portOf(l)))
	must(t, "down", "--name", name)
}

package e2e

// Tests with an environment of their own are parallel: they run after all
// others, when those of kind are gone, and two at a time on two cores.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision"
	"github.com/devenv-oidc/devenv/provision/programs"
)

// running are the numbers of all processes that were started for an
// environment, by what they have in their own environment: devenv's records
// are not asked.
func running(t testing.TB, name string) []int {
	t.Helper()
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, folder := range folders {
		environ, err := os.ReadFile(filepath.Join(folder, "environ"))
		if err == nil && bytes.Contains(environ, []byte(filepath.Join(home, name)+"/")) && len(environ) < 1000 {
			pid, _ := strconv.Atoi(filepath.Base(folder))
			pids = append(pids, pid)
		}
	}
	return pids
}

// kill ends a process and waits until it is gone.
func kill(t testing.TB, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the end of killed processes", 10*time.Second, func() error {
		for _, pid := range pids {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if err != nil {
				continue
			}
			// a zombie whose other threads are gone too (proc_pid_stat(5), fields 3 and 20)
			fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
			if fields[0] != "Z" || fields[17] != "1" {
				return fmt.Errorf("%d is there", pid)
			}
		}
		return nil
	})
}

// noProcessLeft fails if a process, a port or a file of an environment is left.
func noProcessLeft(t testing.TB, name string, ports ...int) {
	t.Helper()
	if pids := running(t, name); len(pids) > 0 {
		t.Errorf("processes of %s: %v", name, pids)
	}
	for _, port := range ports {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Errorf("port of %s: %v", name, err)
			continue
		}
		l.Close()
	}
	entries, err := os.ReadDir(home)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.TrimSuffix(strings.TrimPrefix(e.Name(), "."), ".lock") == name {
			t.Errorf("state: %s", e.Name())
		}
	}
}

// portsOf are all ports that an environment's record has.
func portsOf(t testing.TB, name string) []int {
	t.Helper()
	var record struct {
		IssuerPort              int
		APIPorts, InternalPorts map[string]int
	}
	text, err := os.ReadFile(filepath.Join(home, name, "environment.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &record); err != nil {
		t.Fatal(err)
	}
	ports := []int{record.IssuerPort}
	for _, list := range []map[string]int{record.APIPorts, record.InternalPorts} {
		for _, port := range list {
			ports = append(ports, port)
		}
	}
	return ports
}

func pidOf(t testing.TB, name, process string) int {
	t.Helper()
	return processOf(t, name, process).PID
}

func processOf(t testing.TB, name, process string) provision.ProcessStatus {
	t.Helper()
	s := statusOf(t, name)
	i := slices.IndexFunc(s.Processes, func(p provision.ProcessStatus) bool { return p.Name == process })
	if i < 0 {
		t.Fatalf("%s has no process %s: %v", name, process, s.Processes)
	}
	return s.Processes[i]
}

// withoutEngine is a PATH with nothing on it but what is named.
func withoutEngine(t *testing.T, programs ...string) []string {
	t.Helper()
	bin := t.TempDir()
	for _, p := range programs {
		path, err := exec.LookPath(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, p)); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"PATH=" + bin}
}

// On a machine with no engine and no kubectl, the first command makes and
// proves an environment, and one line says what that leaves out.
func TestWithoutAnyEngine(t *testing.T) {
	t.Parallel()
	const name = "e2e-bare"
	environ := withoutEngine(t)
	r := runWith(t, environ, "up", "--name", name)
	r.wants(t, 0, " ! no container engine: none of docker, podman and nerdctl is on PATH: using plain processes, which leaves out nodes, pods, charts and cert-manager\n", "e2e-bare is ready and proven")
	runWith(t, environ, "check", "--name", name).wants(t, 0, "✓ kubectl auth whoami says admin@example.com", ", 0 failed")
	if s := statusOf(t, name); s.Runtime != "process" || !s.Ready || !strings.HasPrefix(s.Issuer.URL, "https://localhost:") {
		t.Errorf("runtime %s, ready %v, issuer %s", s.Runtime, s.Ready, s.Issuer.URL)
	}
	// where there is an engine, it stays what it is
	devenv(t, "up", "--name", name, "--runtime", "kind").wants(t, 2, "spec.runtime: process → kind", "--recreate")
	must(t, "up", "--name", name)
	ports := portsOf(t, name)
	runWith(t, environ, "down", "--name", name).wants(t, 0, "deleted")
	noProcessLeft(t, name, ports...)
}

func TestKilledProcessesComeBack(t *testing.T) {
	needPlain(t)
	token := strings.TrimSpace(must(t, "token", "--name", plain).stdout)
	for _, process := range []string{"dex", "main.kube-controller-manager", "main.kube-apiserver", "main.etcd"} {
		t.Run(process, func(t *testing.T) {
			kill(t, pidOf(t, plain, process))
			if p := processOf(t, plain, process); p.State != "ended" || p.LastLines == "" {
				t.Errorf("status says that it is %s, its last lines are %q", p.State, p.LastLines)
			}
			devenv(t, "status", "--name", plain).wants(t, 0, process+", ended, its log is ", "ready        no")
			r := must(t, "up", "--name", plain)
			if !strings.Contains(r.stderr, "✓") {
				t.Errorf("up says that it changed nothing:\n%s", r.stderr)
			}
			if s := statusOf(t, plain); !s.Ready {
				t.Errorf("it is not ready: %+v", s.Processes)
			}
		})
	}
	// Dex has its keys and the API server its objects: an old token is good
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	text := must(t, "kubeconfig", "--name", plain, "--flavor", "token").stdout
	text = regexp.MustCompile(`token: \S+`).ReplaceAllString(text, "token: "+token)
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := kubectl(t, kubeconfig, "auth", "whoami", "--output=jsonpath={.status.userInfo.username}"); err != nil || out != "admin@example.com" {
		t.Errorf("with a token from before: %q, %v", out, err)
	}
}

// As a reboot does: nothing runs, and `up` brings back everything with its data.
func TestKilledAltogetherAndUp(t *testing.T) {
	needPlain(t)
	admin := statusOf(t, plain).Clusters[0].Kubeconfig
	if _, err := kubectl(t, admin, "create", "namespace", "kept"); err != nil {
		t.Fatal(err)
	}
	before := portsOf(t, plain)
	kill(t, running(t, plain)...)
	if s := statusOf(t, plain); s.Ready || s.Clusters[0].State != "stopped" {
		t.Errorf("ready %v, cluster %s", s.Ready, s.Clusters[0].State)
	}
	devenv(t, "check", "--name", plain).wants(t, 4, "error: ", "hint: ", "devenv up --name "+plain)
	must(t, "up", "--name", plain)
	if _, err := kubectl(t, admin, "get", "namespace", "kept"); err != nil {
		t.Error(err)
	}
	after := portsOf(t, plain)
	slices.Sort(before)
	slices.Sort(after)
	if !slices.Equal(before, after) {
		t.Errorf("ports were %v and are %v", before, after)
	}
}

func TestKilledAltogetherAndDown(t *testing.T) {
	t.Parallel()
	const name = "e2e-dead"
	must(t, "up", "--name", name, "--runtime", "process")
	ports := portsOf(t, name)
	all := running(t, name)
	if len(all) != 4 {
		t.Errorf("%d processes run", len(all))
	}
	kill(t, all[:2]...) // half of it
	must(t, "down", "--name", name)
	noProcessLeft(t, name, ports...)

	must(t, "up", "--name", name, "--runtime", "process")
	ports = portsOf(t, name)
	kill(t, running(t, name)...)
	must(t, "down", "--name", name)
	noProcessLeft(t, name, ports...)
	devenv(t, "down", "--name", name).wants(t, 0, "nothing to delete")
}

// devenv itself is interrupted, or killed, at different times.
func TestInterruptedWhileProcessesStart(t *testing.T) {
	t.Parallel()
	const name = "e2e-int"
	c, stderr := start(t, "etcd and API server", "up", "--name", name, "--runtime", "process")
	if err := syscall.Kill(-c.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	said := stderr()
	_ = c.Wait()
	result{"", said, c.ProcessState.ExitCode()}.wants(t, 130, "error: interrupted; not done:", "the half-made cluster was removed; start again: devenv up --name "+name)
	if pids := running(t, name); len(pids) > 0 {
		t.Errorf("processes: %v", pids)
	}
	for _, until := range []string{"Create certificate authority", "Start control plane", "Start API server", "Seed clients and users", "Wait for first accepted token"} {
		c, stderr := start(t, until, "up", "--name", name, "--runtime", "process")
		if err := syscall.Kill(-c.Process.Pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		stderr()
		_ = c.Wait()
	}
	must(t, "up", "--name", name) // goes on from whatever there is
	must(t, "down", "--name", name)
	c, stderr = start(t, "Dex, its storage", "up", "--name", name, "--runtime", "process")
	if err := syscall.Kill(-c.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	stderr()
	_ = c.Wait()
	must(t, "up", "--name", name) // with another authority than what was left has
	// what is lost is the record of a process that has its ports
	if err := os.RemoveAll(filepath.Join(home, name, "processes")); err != nil {
		t.Fatal(err)
	}
	must(t, "up", "--name", name)
	if pids := running(t, name); len(pids) != 4 {
		t.Errorf("%d processes run", len(pids))
	}
	c, stderr = start(t, "API server that trusts", "up", "--name", name, "--set", "spec.clusters[0].trust.flags.groupsPrefix=other:", "--set", "spec.expectations=[]")
	_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
	stderr()
	_ = c.Wait()
	ports := portsOf(t, name)
	must(t, "down", "--name", name)
	noProcessLeft(t, name, ports...)
}

// The record names a process that is another's by now: `down` leaves it alone.
func TestRecycledNumberIsLeftAlone(t *testing.T) {
	t.Parallel()
	const name = "e2e-recycled"
	must(t, "up", "--name", name, "--runtime", "process")
	bystander := exec.Command("sleep", "1000")
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- bystander.Wait() }()
	defer func() { _ = bystander.Process.Kill(); <-ended }()
	kill(t, pidOf(t, name, "dex"))
	file := filepath.Join(home, name, "processes", "dex.json")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`"pid":\d+`).ReplaceAll(text, fmt.Appendf(nil, `"pid":%d`, bystander.Process.Pid))
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if p := processOf(t, name, "dex"); p.State != "ended" {
		t.Errorf("the bystander is taken for Dex, which is %s", p.State)
	}
	must(t, "up", "--name", name)
	if err := os.WriteFile(file, text, 0o600); err != nil { // Dex is a stray now
		t.Fatal(err)
	}
	must(t, "down", "--name", name)
	noProcessLeft(t, name)
	select {
	case <-ended:
		t.Error("the bystander was ended")
	default:
	}
}

// Somebody takes a port between its choice and its use: kube-apiserver itself
// finds it taken, because what is called so here takes it first.
func TestPortTakenUnderneath(t *testing.T) {
	t.Parallel()
	const name = "e2e-raced"
	sources := racingSources(t)
	r := runWith(t, []string{"DEVENV_SOURCES=" + sources}, "up", "--name", name, "--runtime", "process")
	r.wants(t, 3, "error: ", "127.0.0.1 is taken", "hint: see what listens there: ss -ltnp", "hint: or let devenv choose other ports: devenv down --name "+name)
	kill(t, running(t, name)...)
	must(t, "down", "--name", name)
	noProcessLeft(t, name)
}

// racer is what the test program is called by when it plays kube-apiserver.
const racer = "kube-apiserver"

// race takes the port that kube-apiserver is to have, and then runs the real one.
func race() {
	port := ""
	for _, argument := range os.Args {
		if p, ok := strings.CutPrefix(argument, "--secure-port="); ok {
			port = p
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		panic(err)
	}
	real, err := os.ReadFile(filepath.Join(os.Getenv("HOME"), "..", ".real-"+racer))
	if err != nil {
		panic(err)
	}
	genuine := &exec.Cmd{Path: string(real), Args: os.Args, Stdout: os.Stdout, Stderr: os.Stderr}
	_ = genuine.Run()
	l.Close()
	os.Exit(1)
}

// racingSources are the sources of all tests, but for a kube-apiserver that
// races with itself.
func racingSources(t *testing.T) string {
	t.Helper()
	pins, version := ownPins(t)
	image := pins.NodeImages[version]
	files, _, err := programs.Ensure(t.Context(), filepath.Join(home, ".programs"), programs.Source{Image: image.Image, Archive: image.Archive},
		"etcd", racer, "kube-controller-manager", "kubectl")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".real-"+racer), []byte(files[racer]), 0o600); err != nil {
		t.Fatal(err)
	}
	if files[racer], err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	pins.Programs = profiles.Programs{Kubernetes: map[string]map[string]string{version: files}}
	pins.DefaultKubernetes = ""
	text, err := yaml.Marshal(pins)
	if err != nil {
		t.Fatal(err)
	}
	sources := filepath.Join(t.TempDir(), "sources.yaml")
	if err := os.WriteFile(sources, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return sources
}

// A port of the API server is known to others, and kept; those of etcd and of
// Dex's administration are not.
func TestPortTakenWhileStopped(t *testing.T) {
	t.Parallel()
	const name = "e2e-ports"
	must(t, "up", "--name", name, "--runtime", "process")
	defer devenv(t, "down", "--name", name)
	var record struct{ APIPorts, InternalPorts map[string]int }
	read := func() {
		text, err := os.ReadFile(filepath.Join(home, name, "environment.json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &record); err != nil {
			t.Fatal(err)
		}
	}
	take := func(port int) net.Listener {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	read()
	kill(t, running(t, name)...)
	api := take(record.APIPorts["main"])
	devenv(t, "up", "--name", name).wants(t, 3, fmt.Sprintf("port %d on 127.0.0.1 is taken", record.APIPorts["main"]))
	api.Close()
	kill(t, running(t, name)...)
	etcd, admin := record.InternalPorts["main.etcd"], record.InternalPorts["dex.grpc"]
	defer take(etcd).Close()
	defer take(admin).Close()
	must(t, "up", "--name", name)
	read()
	if record.InternalPorts["main.etcd"] == etcd || record.InternalPorts["dex.grpc"] == admin {
		t.Errorf("the ports are %v", record.InternalPorts)
	}
}

// small is a folder on a file system of its own, of so many bytes.
func small(t *testing.T, size string) string {
	t.Helper()
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("this user may not mount a file system of its own: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, 0); err != nil {
			t.Error(err)
		}
	})
	return folder
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	folder := small(t, "8m") // etcd wants 64 for its log
	environ := []string{"DEVENV_HOME=" + folder}
	r := runWith(t, environ, "up", "--runtime", "process")
	r.wants(t, 3, "error: ", "no space left on device", "hint: free some space there, or choose another folder by DEVENV_HOME")
	runWith(t, environ, "down").wants(t, 0, "deleted")
	if entries, err := os.ReadDir(folder); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestReadOnlyState(t *testing.T) {
	t.Parallel()
	folder := small(t, "1m")
	environ := []string{"DEVENV_HOME=" + folder}
	if err := syscall.Mount("", folder, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"up", "down"} {
		runWith(t, environ, command).wants(t, 3, "error: ", "read-only file system", "hint: choose a folder that you can write to by DEVENV_HOME")
	}
	runWith(t, environ, "list").wants(t, 0)
}

func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	names := []string{"e2e-one", "e2e-two"}
	results := make([]result, len(names))
	var group sync.WaitGroup
	for i, name := range names {
		group.Go(func() { results[i] = devenv(t, "up", "--name", name, "--runtime", "process") })
	}
	group.Wait()
	for i, name := range names {
		results[i].wants(t, 0, "ready and proven")
		must(t, "check", "--name", name)
	}
	must(t, "down", "--name", names[0])
	must(t, "check", "--name", names[1])
	must(t, "down", "--name", names[1])
	for _, name := range names {
		noProcessLeft(t, name)
	}
}

// Twenty environments up and down, in two rows side by side.
func TestTwentyInARow(t *testing.T) {
	for _, row := range []string{"a", "b"} {
		t.Run(row, func(t *testing.T) {
			t.Parallel()
			for i := range 10 {
				name := fmt.Sprintf("e2e-row-%s%d", row, i)
				must(t, "up", "--name", name, "--runtime", "process")
				ports := portsOf(t, name)
				must(t, "down", "--name", name)
				noProcessLeft(t, name, ports...)
			}
		})
	}
}

// Flags of an API server that is a process are changed in place.
func TestFlagsChangeInPlace(t *testing.T) {
	needPlain(t)
	before := pidOf(t, plain, "main.etcd")
	changes := []string{"--set", "spec.clusters[0].trust.flags.usernamePrefix=user:", "--set", "spec.expectations=[{user: admin@example.com, can: [list nodes]}]"}
	r := must(t, append([]string{"up", "--name", plain}, changes...)...)
	if !strings.Contains(r.stderr, "✓ Start control plane of cluster main") {
		t.Errorf("up does not say what it changed:\n%s", r.stderr)
	}
	devenv(t, "check", "--name", plain).wants(t, 0, "✓ admin@example.com is user:admin@example.com in main")
	must(t, "up", "--name", plain)
	devenv(t, "check", "--name", plain).wants(t, 0, "✓ admin@example.com is admin@example.com in main")
	if after := pidOf(t, plain, "main.etcd"); after != before {
		t.Error("etcd was started anew for flags of the API server")
	}
}

// Two clusters trust one issuer, each for its own client.
func TestSeveralClusters(t *testing.T) {
	t.Parallel()
	const name = "e2e-several"
	second := "spec.clusters[1]={name: second, trust: {flags: {clientID: demo-app, usernameClaim: email, usernamePrefix: 'second:'}}, access: {bindings: [{name: viewers, clusterRole: view, users: ['second:viewer@example.com']}]}}"
	must(t, "up", "--name", name, "--runtime", "process", "--set", second, "--set", "spec.expectations[4]={user: viewer@example.com, cluster: second, can: [list pods], cannot: [list secrets]}")
	defer noProcessLeft(t, name)
	defer must(t, "down", "--name", name)
	s := statusOf(t, name)
	if len(s.Clusters) != 2 || s.Clusters[1].Name != "second" || s.Clusters[1].State != "running" || !s.Ready || len(s.Processes) != 7 {
		t.Errorf("status: %+v", s)
	}
	devenv(t, "check", "--name", name).wants(t, 0, "✓ viewer@example.com is viewer@example.com in main", "✓ second: viewer@example.com is second:viewer@example.com in second", ", 0 failed")
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := must(t, "kubeconfig", "--name", name, "--cluster", "second", "--user", "viewer@example.com").stdout
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := kubectl(t, file, "auth", "whoami", "--output=jsonpath={.status.userInfo.username}"); err != nil || out != "second:viewer@example.com" {
		t.Errorf("%q, %v", out, err)
	}
}

// Nothing listens elsewhere than on the loopback, no file can be read by
// others, and nothing opens without a certificate.
func TestProcessesAreClosed(t *testing.T) {
	needPlain(t)
	inodes := map[string]bool{}
	for _, pid := range running(t, plain) {
		links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range links {
			if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, "socket:[") {
				inodes[strings.Trim(target, "socket:[]")] = true
			}
		}
	}
	listening := 0
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line) // proc_net_tcp: local address, remote, state 0A for listening, …, inode
			if len(fields) < 10 || fields[3] != "0A" || !inodes[fields[9]] {
				continue
			}
			listening++
			if !strings.HasPrefix(fields[1], "0100007F:") {
				t.Errorf("a port listens at %s", fields[1])
			}
		}
	}
	if listening != 5 { // API server, etcd twice, Dex twice
		t.Errorf("%d ports listen", listening)
	}
	ownersAlone(t, plain)
	ports := portsOf(t, plain)
	for _, port := range ports {
		out, err := exec.Command("curl", "--silent", "--insecure", "--max-time", "5", fmt.Sprintf("https://127.0.0.1:%d/v2/keys", port)).CombinedOutput()
		if err == nil && !strings.Contains(string(out), `"code": 403`) && !strings.Contains(string(out), "404 page not found") {
			t.Errorf("port %d answers to somebody without a certificate: %s", port, out)
		}
	}
}

func TestLogsOfProcesses(t *testing.T) {
	needPlain(t)
	folder := filepath.Join(t.TempDir(), "logs")
	must(t, "logs", "--name", plain, folder)
	for _, log := range []string{"dex.log", "main.etcd.log", "main.kube-apiserver.log", "main.kube-controller-manager.log"} {
		if info, err := os.Stat(filepath.Join(folder, log)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", log, err)
		}
	}
}

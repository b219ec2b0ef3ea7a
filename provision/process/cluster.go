package process

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/kube"
)

// Programs are the files of a control plane's programs.
type Programs struct {
	Etcd, APIServer, ControllerManager string
}

// ClusterSpec is a cluster as devenv wants it.
type ClusterSpec struct {
	// Name within the environment.
	Name string
	// Folder of the environment.
	Folder   string
	Programs Programs
	// Ports on the host's loopback: of the API server, and of etcd for its
	// clients and its peers, of which it has none.
	APIPort, EtcdPort, EtcdPeerPort int
	// APIServerArgs are flags of kube-apiserver, without dashes.
	APIServerArgs map[string]string
}

// Cluster is one control plane, there or not. It has no nodes.
type Cluster struct {
	spec    ClusterSpec
	booting bool // Boot made it in this process, and Finish has not been reached
}

// New returns a handle; it touches nothing.
func New(spec ClusterSpec) *Cluster { return &Cluster{spec: spec} }

// below joins elements below the cluster's own folder.
func (c *Cluster) below(elements ...string) string {
	return filepath.Join(append([]string{c.spec.Folder, "clusters", c.spec.Name}, elements...)...)
}

func (c *Cluster) process(program string, args []string) *Process {
	file := map[string]string{etcd: c.spec.Programs.Etcd, apiServer: c.spec.Programs.APIServer, controllerManager: c.spec.Programs.ControllerManager}[program]
	return &Process{Folder: c.spec.Folder, Name: c.spec.Name + "." + program, Program: file, Args: append([]string{program}, args...)}
}

func (c *Cluster) etcd() *Process      { return c.process(etcd, c.etcdArgs()) }
func (c *Cluster) apiServer() *Process { return c.process(apiServer, c.apiServerArgs()) }
func (c *Cluster) controllerManager() *Process {
	return c.process(controllerManager, c.controllerManagerArgs())
}

// Processes in the order in which they start.
func (c *Cluster) Processes() []*Process {
	return []*Process{c.etcd(), c.apiServer(), c.controllerManager()}
}

// Boot starts etcd and the API server, those that do not run as they should.
// It returns when etcd answers; the API server is still on its way.
func (c *Cluster) Boot(ctx context.Context) (changed bool, err error) {
	c.booting = !c.Complete()
	issued, err := c.ensurePKI()
	if err != nil {
		return issued, fmt.Errorf("could not create the certificates of cluster %q: %w", c.spec.Name, err)
	}
	if err := c.stopWithoutData(ctx); err != nil {
		return issued, err
	}
	stored, err := c.ensure(ctx, c.etcd(), c.spec.EtcdPort, c.spec.EtcdPeerPort)
	if err != nil {
		return issued, err
	}
	if err := c.waitForEtcd(ctx); err != nil {
		return true, err
	}
	serving, err := c.ensure(ctx, c.apiServer(), c.spec.APIPort)
	return issued || stored || serving, err
}

// stopWithoutData stops everything where etcd's data was deleted: an API server
// that goes on would serve what it cached, and miss what every new one makes
// first, such as the namespace default.
func (c *Cluster) stopWithoutData(ctx context.Context) error {
	if _, err := os.Stat(c.below("etcd", "member")); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, p := range slices.Backward(c.Processes()) {
		if _, err := p.Stop(ctx); err != nil {
			return err
		}
	}
	return nil
}

// ensure starts a process; before, it makes sure that its ports are free, since
// not every program says so in words.
func (c *Cluster) ensure(ctx context.Context, p *Process, ports ...int) (changed bool, err error) {
	if running, _ := p.Running(); !running {
		if _, err := p.EndStrays(ctx); err != nil { // who would have the ports
			return false, err
		}
		for _, port := range ports {
			listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				return false, &failure.PortTakenError{Port: port}
			}
			listener.Close()
		}
	}
	return p.Ensure(ctx)
}

func (c *Cluster) waitForEtcd(ctx context.Context) error {
	certificate, err := tls.LoadX509KeyPair(c.pki(etcdClientPair+".crt"), c.pki(etcdClientPair+".key"))
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(c.pki(etcdAuthority + ".crt"))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true,
	}}
	return c.etcd().WaitFor(ctx, "etcd of cluster "+c.spec.Name, func(ctx context.Context) error {
		return kube.Answers(ctx, client, fmt.Sprintf("https://127.0.0.1:%d/health", c.spec.EtcdPort))
	})
}

// WaitForAPIServer returns when the API server serves its administrator, with
// the kubeconfig for that. Its last hooks may still run: Finish waits for them.
func (c *Cluster) WaitForAPIServer(ctx context.Context) (kubeconfig []byte, err error) {
	if kubeconfig, err = c.kubeconfig(adminPair); err != nil {
		return nil, err
	}
	admin, err := kube.New(kubeconfig)
	if err != nil {
		return nil, err
	}
	address := fmt.Sprintf("the API server on https://127.0.0.1:%d", c.spec.APIPort)
	return kubeconfig, c.apiServer().WaitFor(ctx, address, func(ctx context.Context) error {
		_, err := admin.Core.CoreV1().Namespaces().Get(ctx, metav1.NamespaceDefault, metav1.GetOptions{})
		return err
	})
}

// Finish starts kube-controller-manager, and waits until the API server is
// ready and the ClusterRoles view, edit and admin are aggregated, which the
// former does.
func (c *Cluster) Finish(ctx context.Context) (changed bool, err error) {
	changed, err = c.controllerManager().Ensure(ctx)
	if err != nil {
		return changed, err
	}
	text, err := c.kubeconfig(adminPair)
	if err != nil {
		return changed, err
	}
	admin, err := kube.New(text)
	if err != nil {
		return changed, err
	}
	err = c.apiServer().WaitFor(ctx, "the API server to be ready", func(ctx context.Context) error {
		_, err := admin.Core.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err
	})
	if err != nil {
		return changed, err
	}
	for _, role := range []string{"view", "edit", "admin"} {
		err := c.controllerManager().WaitFor(ctx, "the rules of the ClusterRole "+role, func(ctx context.Context) error {
			have, err := admin.Core.RbacV1().ClusterRoles().Get(ctx, role, metav1.GetOptions{})
			if err == nil && len(have.Rules) == 0 {
				return errors.New("it has none yet")
			}
			return err
		})
		if err != nil {
			return changed, err
		}
	}
	c.booting = false
	return changed, os.WriteFile(c.completePath(), nil, 0o600)
}

func (c *Cluster) completePath() string { return c.below("complete") }

// Complete says whether the cluster was ever finished.
func (c *Cluster) Complete() bool {
	_, err := os.Stat(c.completePath())
	return err == nil
}

// State says what there is of the cluster: "absent", "incomplete", "running",
// "stopped", or, where some processes run and others do not, "broken".
func (c *Cluster) State(context.Context) (string, error) {
	running, all := 0, c.Processes()
	for _, p := range all {
		if alive, _ := p.Running(); alive {
			running++
		}
	}
	_, err := os.Stat(c.below("etcd"))
	switch {
	case running == 0 && errors.Is(err, os.ErrNotExist):
		return "absent", nil
	case !c.Complete():
		return "incomplete", nil
	case running == 0:
		return "stopped", nil
	case running < len(all):
		return "broken", nil
	}
	return "running", nil
}

// Abandon ends the making of a cluster that is under way and removes what it
// made; removed says whether there was one. With keepFailed it is left as it
// is, for its logs: the next Boot goes on.
func (c *Cluster) Abandon(ctx context.Context, keepFailed bool) (removed bool, err error) {
	if !c.booting || keepFailed {
		return false, nil
	}
	return c.Delete(ctx)
}

// Delete ends the processes, the last started first, and removes their data.
// Logs stay. It may be called for a cluster that is half gone or not there.
func (c *Cluster) Delete(ctx context.Context) (changed bool, err error) {
	all := c.Processes()
	for i := len(all) - 1; i >= 0; i-- {
		stopped, err := all[i].Stop(ctx)
		if err != nil {
			return changed, err
		}
		changed = changed || stopped
	}
	if _, err := os.Stat(c.below("etcd")); err == nil {
		changed = true
	}
	// the key first: it says that the others are there
	for _, gone := range []string{c.completePath(), c.pki(serviceAccountKey), c.below("etcd"), c.below("pki")} {
		if err := os.RemoveAll(gone); err != nil {
			return changed, fmt.Errorf("could not remove the data of cluster %q: %w", c.spec.Name, err)
		}
	}
	return changed, nil
}

// APIServerLog returns the last lines of the API server's log, each with its
// time in front (RFC 3339).
func (c *Cluster) APIServerLog(context.Context) (string, error) {
	text, err := readFrom(c.apiServer().Log(), 0, 1<<20)
	if err != nil {
		return "", fmt.Errorf("could not read the API server's log: %w", err)
	}
	return stamped(string(text), time.Now()), nil
}

// APIServerFlags are the flags of the API server as it runs, without dashes.
func (c *Cluster) APIServerFlags(context.Context) ([]string, error) {
	running, pid := c.apiServer().Running()
	if !running {
		return nil, fmt.Errorf("the API server of cluster %q does not run", c.spec.Name)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil, fmt.Errorf("could not read the command line of the API server: %w", err)
	}
	var flags []string
	for _, argument := range strings.Split(string(text), "\x00")[1:] {
		flags = append(flags, strings.TrimPrefix(argument, "--"))
	}
	return flags, nil
}

// RestartAPIServer ends the API server and starts it again.
func (c *Cluster) RestartAPIServer(ctx context.Context) error {
	if _, err := c.apiServer().Stop(ctx); err != nil {
		return err
	}
	_, err := c.ensure(ctx, c.apiServer(), c.spec.APIPort)
	return err
}

// CollectLogs copies the processes' logs to a folder.
func (c *Cluster) CollectLogs(folder string) error {
	for _, p := range c.Processes() {
		if err := p.CopyLog(folder); err != nil {
			return err
		}
	}
	return nil
}

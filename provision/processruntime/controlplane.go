package processruntime

import (
	"context"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/plan"
	"github.com/devenv-oidc/devenv/provision/process"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/steps"
)

// explain gives the errors of steps their class and hints.
func (r *Runtime) explain(err error) error { return steps.ExplainPort(r.env, err) }

func (r *Runtime) createCAs(context.Context) (changed bool, err error) { return steps.CreateCAs(r.env) }

// startControlPlane starts etcd and an API server. While Dex does not run, its
// port is held: the API server's first question to the issuer then waits, and
// is answered as soon as Dex can.
func (r *Runtime) startControlPlane(c profiles.Cluster) plan.Ensure {
	return func(ctx context.Context) (changed bool, err error) {
		first := r.env.IsFirst(c) && !r.env.External() // the others have nothing to do with Dex
		if first {
			if _, err := r.dex().EndStrays(ctx); err != nil {
				return false, err
			}
		}
		if err := r.changeTakenPorts(ctx, c); err != nil {
			return false, err
		}
		if first {
			if err := r.holdLine(); err != nil {
				return false, err
			}
		}
		return steps.Boot(ctx, r.env, r.handle(c.Name))
	}
}

func (r *Runtime) holdLine() error {
	running, _ := r.dex().Running()
	r.mu.Lock()
	defer r.mu.Unlock()
	if running || r.line != nil {
		return nil
	}
	line, err := process.Hold(r.env.Record.IssuerPort)
	r.line = line
	return err
}

// changeTakenPorts chooses another internal port where another program took one
// while its process did not run: nobody outside knows these.
func (r *Runtime) changeTakenPorts(ctx context.Context, c profiles.Cluster) error {
	owners := map[string]*process.Process{}
	if r.env.IsFirst(c) {
		owners[DexAdminPort] = r.dex()
	}
	etcd := &process.Process{Folder: string(r.env.Dir), Name: c.Name + ".etcd"}
	if _, err := etcd.EndStrays(ctx); err != nil {
		return err
	}
	owners[etcdPort(c.Name)], owners[etcdPeerPort(c.Name)] = etcd, etcd
	r.mu.Lock()
	defer r.mu.Unlock()
	changed := false
	for name, owner := range owners {
		if running, _ := owner.Running(); running || record.PortFree(r.env.Record.InternalPorts[name]) {
			continue
		}
		if err := r.env.Record.ChangeInternalPort(r.env.Home, name); err != nil {
			return err
		}
		changed = true
	}
	if !changed {
		return nil
	}
	return r.env.Save()
}

func (r *Runtime) waitForAPIServer(c profiles.Cluster) plan.Ensure {
	return func(ctx context.Context) (bool, error) {
		return steps.WaitForAPIServer(ctx, r.env, c, r.handle(c.Name))
	}
}

// completeCluster starts kube-controller-manager and waits until the built-in
// ClusterRoles are aggregated.
func (r *Runtime) completeCluster(c profiles.Cluster) plan.Ensure {
	return func(ctx context.Context) (bool, error) { return r.handle(c.Name).Finish(ctx) }
}

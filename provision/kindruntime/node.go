package kindruntime

import (
	"context"
	"maps"
	"slices"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/cluster"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/plan"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/steps"
)

func (r *Runtime) findEngine(ctx context.Context) (changed bool, err error) {
	if err := r.Find(ctx); err != nil {
		return false, err
	}
	if r.env.Record.Engine == r.engine.Command {
		return false, nil
	}
	r.env.Record.Engine = r.engine.Command
	return true, r.env.Save()
}

// createCAs also gives the API servers what they read at boot, before there is
// a cluster that could store it.
func (r *Runtime) createCAs(context.Context) (changed bool, err error) {
	made, err := steps.CreateCAs(r.env)
	if err != nil {
		return made, err
	}
	ca, err := r.env.IssuerCA()
	if err != nil {
		return made, err
	}
	for _, c := range r.env.Spec().Clusters {
		copied, err := r.env.Dir.Write(ca, environment.NodeFile(c.Name, "ca.crt")...)
		if err != nil {
			return made, err
		}
		made = made || copied
	}
	return made, nil
}

func (r *Runtime) getNodeImage(c profiles.Cluster) plan.Ensure {
	return func(ctx context.Context) (changed bool, err error) {
		pin := r.env.Record.Pins.NodeImages[c.KubernetesVersion]
		if c.Image != "" {
			pin = profiles.NodeImagePin{Image: c.Image}
		}
		changed, err = r.engine.EnsureImage(ctx, pin.Image, pin.Archive)
		if balancer := r.env.Record.Pins.Images[profiles.LoadBalancerImage]; err == nil && c.Several() {
			pin = profiles.NodeImagePin{Image: balancer.Pinned(), Archive: balancer.Archive}
			did, balancerErr := r.engine.EnsureImage(ctx, pin.Image, pin.Archive)
			if changed, err = changed || did, balancerErr; err == nil { // kind knows it by one name only
				err = r.engine.Tag(ctx, pin.Image, profiles.Pinned().Images[profiles.LoadBalancerImage].Ref())
			}
		}
		if err == nil || ctx.Err() != nil {
			return changed, err
		}
		if len(r.env.Record.Pins.Programs.Kubernetes[c.KubernetesVersion]) > 0 {
			err = &failure.UnsuitableError{Err: err} // processes need no image then
		}
		return changed, failure.New(failure.Prerequisite, err, "fetch it yourself and run the command again: "+r.engine.Command+" pull "+pin.Image)
	}
}

// startNode looks at the ports of a new node itself: the engine would say which
// one is taken only after it made the container. The issuer is in the first
// cluster's node; those of the others relay to it.
func (r *Runtime) startNode(c profiles.Cluster) plan.Ensure {
	return func(ctx context.Context) (changed bool, err error) {
		handle := r.handle(c.Name)
		if state, err := handle.State(ctx); err == nil && state == "absent" {
			ports := append([]int{r.env.Record.APIPorts[c.Name]}, r.spec(c.Name).Ports...)
			for _, p := range c.ExtraPortMappings {
				if p.HostPort != 0 && p.Protocol != "UDP" && p.Protocol != "SCTP" {
					ports = append(ports, p.HostPort)
				}
			}
			for _, port := range ports {
				if !record.PortFree(port) {
					return false, &failure.PortTakenError{Port: port}
				}
			}
		}
		changed, err = steps.Boot(ctx, r.env, handle)
		if err != nil || r.env.IsFirst(c) || r.env.External() {
			return changed, err
		}
		relayed, err := handle.Relay(ctx, r.env.Record.IssuerPort, r.node(r.env.First().Name))
		return changed || relayed, err
	}
}

// node is the name of a cluster's node, and its host name on the engine's
// network.
func (r *Runtime) node(c string) string { return cluster.NodeName(kindName(r.env.Name(), c)) }

func (r *Runtime) waitForAPIServer(c profiles.Cluster) plan.Ensure {
	return func(ctx context.Context) (bool, error) {
		return steps.WaitForAPIServer(ctx, r.env, c, r.handle(c.Name))
	}
}

// completeCluster waits for kind, and makes sure that the API server has the
// flags that it was given.
func (r *Runtime) completeCluster(c profiles.Cluster) plan.Ensure {
	return func(ctx context.Context) (bool, error) { return r.handle(c.Name).Finish(ctx) }
}

// images are those that are loaded into a node. The check's pods run Dex's.
// Images that only the profile names are loaded where there is an archive: else
// the node pulls them, and its pods say why it cannot.
func (r *Runtime) images(c profiles.Cluster) []cluster.Image {
	var pins []profiles.ImagePin
	if !r.env.External() || len(r.env.Spec().Probes) > 0 {
		pins = append(pins, steps.DexImage(r.env))
	}
	if r.env.IsFirst(c) {
		pins = slices.AppendSeq(pins, maps.Values(r.env.Record.Pins.Charts["cert-manager"].Images))
	}
	for _, name := range r.env.Record.Profile.PodImages(c) {
		if image := r.env.Record.Pins.Images[name]; image.Archive != "" {
			pins = append(pins, image)
		}
	}
	var list []cluster.Image
	for _, pin := range pins {
		list = append(list, cluster.Image{Ref: pin.Ref(), Digest: pin.Digest, Archive: pin.Archive})
	}
	return list
}

func (r *Runtime) loadImages(c profiles.Cluster) plan.Ensure {
	return func(ctx context.Context) (changed bool, err error) {
		changed, err = r.handle(c.Name).LoadImages(ctx, r.images(c))
		if err != nil && ctx.Err() == nil {
			return changed, failure.New(failure.Prerequisite, err, "without access to a registry, set DEVENV_SOURCES to a sources file; see profiles/README.md")
		}
		if err != nil || len(c.Images) == 0 {
			return changed, err
		}
		loaded, err := r.loadProfileImages(ctx, c)
		return changed || loaded, err
	}
}

package runtimetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/devenv-oidc/devenv/provision"
	"github.com/devenv-oidc/devenv/provision/plan"
)

// Environment is one whose runtime is tried.
type Environment struct {
	// Open returns a Runtime that knows nothing of those before, as that of
	// another command.
	Open func() provision.Runtime
	// Cluster is the name of one of its clusters.
	Cluster string
	// Folder for logs, empty.
	Folder string
}

// CheckAbsent tries the runtime of an environment that was never made: all of
// it answers, and changes nothing.
func CheckAbsent(ctx context.Context, e Environment) error {
	r := e.Open()
	if err := plan.Validate(r.Plan()); err != nil {
		return err
	}
	if r.Made() {
		return errors.New("its Made says yes")
	}
	if err := r.Find(ctx); err != nil {
		return fmt.Errorf("its Find: %w", err)
	}
	if err := wantRuntimeState(ctx, r, e.Cluster, "absent"); err != nil {
		return err
	}
	for _, p := range r.Processes() {
		if p.State != "absent" {
			return fmt.Errorf("the process %s is %s", p.Name, p.State)
		}
	}
	abandoned, err := r.Abandon(ctx, false)
	if err := want("Abandon", abandoned, false, err); err != nil {
		return err
	}
	removed, err := r.Remove(ctx)
	return want("Remove", removed, false, err)
}

// CheckRunning tries the runtime of an environment that `up` made, and leaves
// it as it is.
func CheckRunning(ctx context.Context, e Environment) error {
	r := e.Open()
	if !r.Made() {
		return errors.New("its Made says no")
	}
	if err := r.Find(ctx); err != nil {
		return fmt.Errorf("its Find: %w", err)
	}
	if err := wantRuntimeState(ctx, r, e.Cluster, "running"); err != nil {
		return err
	}
	for _, p := range r.Processes() {
		if p.State != "running" || p.PID == 0 {
			return fmt.Errorf("the process %s is %s, with number %d", p.Name, p.State, p.PID)
		}
	}
	log, err := r.APIServerLog(ctx, e.Cluster)
	if err != nil {
		return fmt.Errorf("its APIServerLog: %w", err)
	}
	if err := stamped(log); err != nil {
		return err
	}
	have, flags, err := r.APIServerFlags(ctx, e.Cluster)
	if err != nil {
		return fmt.Errorf("its APIServerFlags: %w", err)
	}
	for name, value := range flags {
		if !slices.Contains(have, name+"="+value) {
			return fmt.Errorf("its API server runs without --%s=%s", name, value)
		}
	}
	version, err := r.Kubectl(ctx, e.Cluster, nil, "version", "--client")
	if err != nil || !strings.Contains(version, "Client Version") {
		return fmt.Errorf("its Kubectl says %q, %w", version, err)
	}
	if err := r.CollectLogs(ctx, e.Folder); err != nil {
		return fmt.Errorf("its CollectLogs: %w", err)
	}
	if err := logsIn(e.Folder); err != nil {
		return err
	}
	abandoned, err := r.Abandon(ctx, false)
	if err := want("Abandon with nothing under way", abandoned, false, err); err != nil {
		return err
	}
	return wantRuntimeState(ctx, e.Open(), e.Cluster, "running")
}

func wantRuntimeState(ctx context.Context, r provision.Runtime, cluster, want string) error {
	if err := r.Find(ctx); err != nil {
		return err
	}
	state, err := r.State(ctx, cluster)
	if err == nil && state != want {
		err = fmt.Errorf("the state of cluster %s is %s, not %s", cluster, state, want)
	}
	return err
}

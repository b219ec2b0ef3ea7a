package cluster

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Engine is a container engine, used through its command.
type Engine struct {
	// Command is docker, podman or nerdctl.
	Command string
}

// engines in the order in which they are tried.
var engines = []string{"docker", "podman", "nerdctl"}

// ErrNoEngine says that no container engine's command is on PATH.
var ErrNoEngine = errors.New("no container engine: none of docker, podman and nerdctl is on PATH")

// SilentEngineError says that an engine is installed and does not answer.
type SilentEngineError struct {
	Command string
	Err     error
}

func (e *SilentEngineError) Error() string {
	return fmt.Sprintf("the container engine does not answer: %v", e.Err)
}

// Unwrap returns what its command said.
func (e *SilentEngineError) Unwrap() error { return e.Err }

// FindEngine returns the first engine that answers. With a command it tries
// that one alone. It gives ErrNoEngine or a *SilentEngineError.
func FindEngine(ctx context.Context, command string) (*Engine, error) {
	candidates := engines
	if command != "" {
		candidates = []string{command}
	}
	var silent error
	for _, c := range candidates {
		if _, err := exec.LookPath(c); err != nil {
			continue
		}
		e := &Engine{Command: c}
		_, err := e.output(ctx, "info", "--format", "{{json .}}")
		if err == nil {
			return e, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if silent == nil {
			silent = &SilentEngineError{Command: c, Err: err}
		}
	}
	if silent != nil {
		return nil, silent
	}
	if command != "" {
		return nil, fmt.Errorf("the container engine %q is not on PATH: %w", command, ErrNoEngine)
	}
	return nil, ErrNoEngine
}

// run calls the engine; an error holds the last lines of what it said.
func (e *Engine) run(ctx context.Context, in io.Reader, out io.Writer, args ...string) error {
	c := exec.CommandContext(ctx, e.Command, args...)
	var said bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = in, out, &said
	if err := c.Run(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%w while running %s %s", context.Cause(ctx), e.Command, args[0])
		}
		return fmt.Errorf("%s %s: %w: %s", e.Command, args[0], err, lastLines(said.String(), 5))
	}
	return nil
}

func (e *Engine) output(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	err := e.run(ctx, nil, &out, args...)
	return strings.TrimSpace(out.String()), err
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// container is one node of a kind cluster.
type container struct {
	Name    string
	Running bool // also while it is paused
	Paused  bool
	Files   string // the host folder mounted at filesMount; "" if none is
	// Cluster is kind's name of the cluster, and Balancer says that this is what
	// stands before its control planes: kind gives it no mounts.
	Cluster  string
	Balancer bool
}

// kindClusterLabel is on every container of a kind cluster (kind,
// pkg/cluster/internal/providers/docker/constants.go).
const kindClusterLabel = "io.x-k8s.kind.cluster"

// kindRoleLabel is on a node with its role; loadBalancerRole is that of what
// stands before several control planes (kind, pkg/cluster/constants).
const kindRoleLabel, loadBalancerRole = "io.x-k8s.kind.role", "external-load-balancer"

// containers lists the nodes of a kind cluster, running or not; of all kind
// clusters when cluster is empty. devenv's own are told by the folder it mounts
// into them, which stays with a container through every state.
func (e *Engine) containers(ctx context.Context, cluster string) ([]container, error) {
	return e.list(ctx, cluster, 5)
}

// removalPause is given to the engine to get on with removing a container.
const removalPause = 200 * time.Millisecond

func (e *Engine) list(ctx context.Context, cluster string, tries int) ([]container, error) {
	filter := "label=" + kindClusterLabel
	if cluster != "" {
		filter += "=" + cluster
	}
	ids, err := e.output(ctx, "ps", "-a", "-q", "--no-trunc", "--filter", filter)
	if err != nil || ids == "" {
		return nil, err
	}
	text, err := e.output(ctx, append([]string{"inspect", "--type", "container"}, strings.Fields(ids)...)...)
	if err != nil && tries > 0 && ctx.Err() == nil {
		// one was removed meanwhile ("no such container"), or is just being removed,
		// for which engines have many words
		select {
		case <-ctx.Done():
		case <-time.After(removalPause):
		}
		return e.list(ctx, cluster, tries-1)
	}
	if err != nil {
		return nil, err
	}
	var inspected []struct {
		Name   string
		State  struct{ Running, Paused bool }
		Config struct{ Labels map[string]string }
		Mounts []struct{ Source, Destination string }
	}
	if err := json.Unmarshal([]byte(text), &inspected); err != nil {
		return nil, fmt.Errorf("could not read what %s inspect said: %w", e.Command, err)
	}
	var list []container
	owners := map[string]string{} // by kind's name of the cluster
	for _, i := range inspected {
		c := container{
			Name: strings.TrimPrefix(i.Name, "/"), Running: i.State.Running, Paused: i.State.Paused,
			Cluster: i.Config.Labels[kindClusterLabel], Balancer: i.Config.Labels[kindRoleLabel] == loadBalancerRole,
		}
		for _, m := range i.Mounts {
			if m.Destination == filesMount {
				c.Files, owners[c.Cluster] = m.Source, m.Source
			}
		}
		list = append(list, c)
	}
	for i := range list { // a balancer belongs to whom its nodes do
		if list[i].Balancer {
			list[i].Files = owners[list[i].Cluster]
		}
	}
	// and is deleted before them: alone it would be nobody's
	slices.SortStableFunc(list, func(a, b container) int { return cmp.Compare(order(a), order(b)) })
	return list, nil
}

func order(c container) int {
	if c.Balancer {
		return 0
	}
	return 1
}

// belongsTo says whether a container of a cluster is that of a folder. A balancer
// whose nodes are gone tells nobody's: then the cluster's name does.
func (c container) belongsTo(files string) bool {
	return c.Files == files || c.Balancer && c.Files == ""
}

// HasImage says whether the engine holds an image.
func (e *Engine) HasImage(ctx context.Context, ref string) bool {
	_, err := e.output(ctx, "image", "inspect", ref)
	return err == nil
}

// holds says whether the engine has the image under its tag with that digest;
// an empty digest accepts any.
func (e *Engine) holds(ctx context.Context, ref, digest string) bool {
	text, err := e.output(ctx, "image", "inspect", "--format", "{{json .RepoDigests}}", ref)
	if err != nil {
		return false
	}
	var digests []string
	if err := json.Unmarshal([]byte(text), &digests); err != nil {
		return false
	}
	return digest == "" || slices.ContainsFunc(digests, func(d string) bool { return strings.HasSuffix(d, "@"+digest) })
}

// EnsureImage makes the engine hold an image: from an archive, or by pulling.
func (e *Engine) EnsureImage(ctx context.Context, ref, archive string) (changed bool, err error) {
	if e.HasImage(ctx, ref) {
		return false, nil
	}
	if archive != "" {
		_, err = e.output(ctx, "load", "-i", archive)
		if err == nil && !e.HasImage(ctx, ref) {
			err = fmt.Errorf("%s does not hold it", filepath.Base(archive))
		}
	} else {
		_, err = e.output(ctx, "pull", "-q", ref)
	}
	if err != nil {
		return false, fmt.Errorf("could not get the image %s: %w", ref, err)
	}
	return true, nil
}

// Tag gives an image of the engine's another name, too.
func (e *Engine) Tag(ctx context.Context, ref, name string) error {
	if ref == name {
		return nil
	}
	if _, err := e.output(ctx, "tag", ref, name); err != nil {
		return fmt.Errorf("could not give the image %s the name %s: %w", ref, name, err)
	}
	return nil
}

// UnprivilegedError says that the engine starts no privileged containers, which
// the nodes of a cluster are.
type UnprivilegedError struct{ Err error }

func (e *UnprivilegedError) Error() string {
	return fmt.Sprintf("the container engine cannot start a privileged container: %v", e.Err)
}

// Unwrap returns what the engine said.
func (e *UnprivilegedError) Unwrap() error { return e.Err }

// TryPrivileged starts and removes a privileged container of an image that the
// engine holds; the error is an *UnprivilegedError.
func (e *Engine) TryPrivileged(ctx context.Context, image string) error {
	if _, err := e.output(ctx, "run", "--rm", "--privileged", "--network=none", "--entrypoint=/bin/true", image); err != nil {
		return &UnprivilegedError{Err: err}
	}
	return nil
}

// FoldersUnder lists the folders below dir that devenv mounted into containers,
// running or not, whether they still exist or not.
func (e *Engine) FoldersUnder(ctx context.Context, dir string) ([]string, error) {
	all, err := e.containers(ctx, "")
	if err != nil {
		return nil, err
	}
	var folders []string
	for _, c := range all {
		if c.under(dir) {
			folders = append(folders, c.Files)
		}
	}
	return folders, nil
}

// under says whether devenv mounted a folder below dir into the container.
func (c container) under(dir string) bool {
	return strings.HasPrefix(c.Files, dir+string(filepath.Separator))
}

// DeleteUnder removes the containers, and their volumes, into which devenv
// mounted a folder below dir: all that belongs to one environment, however
// much of it is left.
func (e *Engine) DeleteUnder(ctx context.Context, dir string, clusters ...string) (names []string, err error) {
	all, err := e.containers(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		alone := c.Balancer && c.Files == "" && slices.Contains(clusters, c.Cluster)
		if !c.under(dir) && !alone {
			continue
		}
		if _, err := e.output(ctx, "rm", "-f", "-v", c.Name); err != nil {
			return names, fmt.Errorf("could not remove the node %s: %w", c.Name, err)
		}
		names = append(names, c.Name)
	}
	return names, nil
}

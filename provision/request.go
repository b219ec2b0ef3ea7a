package provision

import (
	"cmp"
	"time"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/progress"
	"github.com/devenv-oidc/devenv/provision/state"
)

// UpRequest asks for an environment.
type UpRequest struct {
	Home    state.Home
	Name    string
	Profile *profiles.Environment
	// Arguments are those of the command line that name the profile, for hints:
	// " --profile klutch".
	Arguments string
	// Sources is the path of a sources file; empty for the official sources.
	Sources string
	// Runtime is auto, kind or process; empty for what the profile says. With
	// auto an existing environment keeps its runtime.
	Runtime string
	// Recreate deletes an environment that exists and creates it again.
	Recreate bool
	// NoPrune keeps the users, clients, bindings, connections, charts and objects
	// that devenv made and the profile does not have.
	NoPrune bool
	// Plugin is the path of the devenv that the kubeconfig which Up writes calls for
	// tokens; the one that the environment had, without it. Where it never had one,
	// that kubeconfig holds a token, and is useless when it expires.
	Plugin string
	// TTL is how long the environment lives from now on; nil keeps what was said
	// before, 0 makes it endless.
	TTL *time.Duration
	// OwnerPIDs are processes for which the environment is made, beside those
	// that it has: it is deleted when all of them are gone. 0 among them takes
	// away those that it has.
	OwnerPIDs []int
	// Reaper are the arguments by which this program, started once more, calls
	// Reap for the environment. Without them nothing deletes an environment that is
	// over until somebody calls Up or Collect.
	Reaper []string
	// Timeout for everything together; 10 minutes when 0.
	Timeout  time.Duration
	Progress progress.Sink

	otherPorts bool // were chosen already
}

const defaultTimeout = 10 * time.Minute

func (r UpRequest) wantedRuntime() string { return cmp.Or(r.Runtime, r.Profile.Spec.Runtime) }

// note shows a line to whoever watches.
func (r UpRequest) note(text string) {
	if text != "" {
		r.Progress.Emit(progress.Event{Time: time.Now(), State: progress.Note, Detail: text})
	}
}

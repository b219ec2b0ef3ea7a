package provision

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/record"
)

// chooseRuntime says where an environment runs: where it ran, unless the
// request says otherwise. A new one runs where the request says, or else on the
// first runtime that is available; note then says in one line why the preferred
// one is not.
func chooseRuntime(ctx context.Context, r UpRequest, old *record.Record) (chosen registered, note string, err error) {
	wanted, pods := r.wantedRuntime(), r.Profile.NeedsPods()
	if old != nil && (wanted == profiles.RuntimeAuto || wanted == "") {
		wanted = old.Runtime
	}
	if wanted == profiles.RuntimeAuto || wanted == "" {
		return firstAvailable(ctx, pods)
	}
	chosen = runtimeNamed(wanted)
	withPods := fmt.Sprintf("with a container engine: devenv up --runtime %s%s", runtimes[0].Name, record.NameFlag(r.Name))
	switch {
	case chosen.Pods: // its own first step says what is missing
		return chosen, "", nil
	case len(pods) > 0:
		return chosen, "", failure.Newf(failure.Usage, "the profile %s needs pods, and plain processes have none: %s", r.Profile.Metadata.Name, strings.Join(pods, ", ")).
			Hint("%s", withPods)
	}
	if err := chosen.available(ctx); err != nil {
		return chosen, "", failure.New(failure.Prerequisite, err, withPods)
	}
	return chosen, "", nil
}

func firstAvailable(ctx context.Context, pods []string) (chosen registered, note string, err error) {
	var why error // the preferred runtime is not available
	for _, candidate := range runtimes {
		err := candidate.available(ctx)
		switch {
		case ctx.Err() != nil:
			return registered{}, "", ctx.Err()
		case err != nil && why == nil:
			why = err
		case err != nil:
		case len(pods) > 0 && !candidate.Pods:
			why = failure.New(failure.ClassOf(why), fmt.Errorf("%w; and without pods there would be no %s", why, strings.Join(pods, ", ")), failure.HintsOf(why)...)
		case why == nil:
			return candidate, "", nil
		default:
			return candidate, withoutPods(why), nil
		}
	}
	return registered{}, "", why
}

// withoutPods is the line that says what is missing and what that leaves out.
func withoutPods(why error) string {
	reason, _, _ := strings.Cut(why.Error(), "\n")
	return reason + ": using plain processes, which leaves out nodes, pods, charts and cert-manager"
}

// fallback is the runtime to continue with, where a plan showed that this
// machine cannot run the one that devenv chose: the engine answers, say, and
// starts no privileged container.
func (e *Environment) fallback(ctx context.Context, err error) (other registered, ok bool) {
	var unsuitable *failure.UnsuitableError
	if !e.env.Record.RuntimeChosen || !errors.As(err, &unsuitable) || e.runtime.Made() {
		return registered{}, false
	}
	pods := e.env.Record.Profile.NeedsPods()
	for _, candidate := range runtimes {
		if candidate.Name != e.env.Record.Runtime && (candidate.Pods || len(pods) == 0) && candidate.available(ctx) == nil {
			return candidate, true
		}
	}
	return registered{}, false
}

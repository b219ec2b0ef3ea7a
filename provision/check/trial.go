package check

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/kube"
)

// trialLimit is how long the API server takes at most to see that a binding was created or deleted.
const trialLimit = 20 * time.Second

// Trial proves that it is a binding and nothing else that allows something:
// denied before, allowed with it, denied after. The first list action is
// tried with kubectl too, and a denial must be Forbidden for that very user.
func (c *Cluster) Trial(ctx context.Context, l Login, t profiles.Trial, bind, unbind func(context.Context) error) []Result {
	defer func() { _ = unbind(context.WithoutCancel(ctx)) }() // also when it ends half-way
	var results []Result
	for _, phase := range []struct {
		name    string
		prepare func(context.Context) error
		want    bool
	}{
		{"before " + t.ClusterRole + " is bound", unbind, false},
		{"with " + t.ClusterRole, bind, true},
		{"after " + t.ClusterRole + " is deleted", unbind, false},
	} {
		verb := map[bool]string{true: "can", false: "cannot"}[phase.want]
		if err := phase.prepare(ctx); err != nil {
			return append(results, Result{Group: "trial", Name: l.Email + ", " + phase.name, Detail: err.Error()})
		}
		for _, action := range t.Can {
			result := Result{Group: "trial", Name: fmt.Sprintf("%s, %s, %s %s", l.Email, phase.name, verb, action)}
			err := c.becomes(ctx, l, action, phase.want)
			if result.OK = err == nil; err != nil {
				result.Detail = err.Error()
			}
			results = append(results, result)
		}
		if action, ok := firstList(t.Can); ok {
			results = append(results, c.trialKubectl(ctx, l, action, phase.name, phase.want))
		}
	}
	return results
}

// becomes waits until the API server sees the binding, or its end.
func (c *Cluster) becomes(ctx context.Context, l Login, action string, want bool) error {
	ctx, cancel := context.WithTimeout(ctx, trialLimit)
	defer cancel()
	return kube.Poll(ctx, "the API server to see the binding", func(ctx context.Context) error {
		allowed, err := c.allowed(ctx, l.Token, action)
		if err == nil && allowed != want {
			err = fmt.Errorf("it is %s", map[bool]string{true: "allowed", false: "forbidden"}[allowed])
		}
		return err
	})
}

func (c *Cluster) trialKubectl(ctx context.Context, l Login, action profiles.Action, phase string, want bool) Result {
	result := Result{Group: "trial", Name: fmt.Sprintf("%s, %s, with kubectl: %s", l.Email, phase, action)}
	_, err := c.Kubectl(ctx, l.Token, getArguments(action)...)
	switch {
	case want:
		result.OK = err == nil
	case err == nil:
		result.Detail = "it was allowed"
		return result
	default:
		result.OK = strings.Contains(err.Error(), "(Forbidden)") && strings.Contains(err.Error(), `User "`+l.Username+`" cannot`)
	}
	if err != nil {
		_, result.Detail, _ = strings.Cut(err.Error(), "Error from server ")
		if result.Detail == "" {
			result.Detail = err.Error()
		}
	}
	return result
}

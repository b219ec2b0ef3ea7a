package provision

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/plan"
	"github.com/devenv-oidc/devenv/provision/progress"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/state"
)

// fakePlan is the real plan with steps that only say that they ran; during is
// called in each.
func fakePlan(t *testing.T, runtime string, during func(ctx context.Context, id string) error) (steps []plan.Step, ran func() []string) {
	t.Helper()
	profile := load(t)
	if runtime == profiles.RuntimeProcess {
		profile = load(t, "spec.clusters[1]={name: second, trust: {flags: {clientID: demo-app}}}")
	}
	r, err := record.Resolve(state.Home(t.TempDir()), "fake", runtimeNamed(runtime).Runtime, profile, nil)
	if err != nil {
		t.Fatal(err)
	}
	steps = newEnvironment(state.Home(t.TempDir()), r).runtime.Plan()
	var mu sync.Mutex
	var order []string
	for i := range steps {
		id := steps[i].ID
		steps[i].Ensure = func(ctx context.Context) (bool, error) {
			if err := during(ctx, id); err != nil {
				return false, err
			}
			mu.Lock()
			defer mu.Unlock()
			order = append(order, id)
			return true, nil
		}
	}
	return steps, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(order)
	}
}

func noFailure(context.Context, string) error { return nil }

// onBoth runs a test for the plan of each runtime; that of processes with two
// clusters.
func onBoth(t *testing.T, test func(t *testing.T, runtime string)) {
	for _, runtime := range []string{profiles.RuntimeKind, profiles.RuntimeProcess} {
		t.Run(runtime, func(t *testing.T) { test(t, runtime) })
	}
}

func TestPlanRunsInOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, runtime string) {
		steps, ran := fakePlan(t, runtime, noFailure)
		timings, err := plan.Run(t.Context(), steps, progress.Discard())
		if err != nil {
			t.Fatal(err)
		}
		order := ran()
		if len(order) != len(steps) || len(timings) != len(steps) {
			t.Fatalf("%d of %d steps ran, %d timings", len(order), len(steps), len(timings))
		}
		for _, s := range steps {
			for _, need := range s.Needs {
				if slices.Index(order, need) > slices.Index(order, s.ID) {
					t.Errorf("%s ran before %s", s.ID, need)
				}
			}
		}
	})
}

func TestPlanRunsSideBySide(t *testing.T) {
	meet := make(chan string)
	steps, _ := fakePlan(t, profiles.RuntimeKind, func(ctx context.Context, id string) error {
		if id != "images" && id != "api-server" { // neither needs the other
			return nil
		}
		select {
		case meet <- id:
		case <-meet:
		case <-time.After(5 * time.Second):
			return errors.New("the other one did not run at the same time")
		}
		return nil
	})
	if _, err := plan.Run(t.Context(), steps, progress.Discard()); err != nil {
		t.Fatal(err)
	}
}

// Every step fails once: the run ends with that step's error, nothing that
// needs it starts, and every event stream closes what it opened.
func TestPlanFailsAtEveryStep(t *testing.T) {
	onBoth(t, func(t *testing.T, runtime string) {
		all, _ := fakePlan(t, runtime, noFailure)
		for _, broken := range all {
			t.Run(broken.ID, func(t *testing.T) {
				boom := errors.New("boom")
				steps, ran := fakePlan(t, runtime, func(_ context.Context, id string) error {
					if id == broken.ID {
						return boom
					}
					return nil
				})
				open := map[string]bool{}
				sink := progress.Func(func(e progress.Event) { open[e.Step] = e.State == progress.Started })
				_, err := plan.Run(t.Context(), steps, sink)
				var failed *plan.Error
				if !errors.As(err, &failed) || failed.Step.ID != broken.ID || !errors.Is(err, boom) {
					t.Fatalf("the error is %v", err)
				}
				if err.Error() != failed.Step.Title+": boom" {
					t.Errorf("it does not name its step: %v", err)
				}
				if !slices.Contains(failed.Unfinished, broken.ID) {
					t.Errorf("it is not among the unfinished: %v", failed.Unfinished)
				}
				for _, s := range steps {
					if slices.Contains(s.Needs, broken.ID) && slices.Contains(ran(), s.ID) {
						t.Errorf("%s ran without %s", s.ID, broken.ID)
					}
				}
				for id, still := range open {
					if still {
						t.Errorf("%s started and never ended", id)
					}
				}
			})
		}
	})
}

// A failure stops what runs beside it, and is the error that is reported.
func TestFailureStopsTheOthers(t *testing.T) {
	boom := errors.New("boom")
	waiting := make(chan struct{})
	steps, _ := fakePlan(t, profiles.RuntimeKind, func(ctx context.Context, id string) error {
		switch id {
		case "api-server":
			close(waiting)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(5 * time.Second):
				return errors.New("nobody stopped it")
			}
		case "images":
			<-waiting
			return boom
		}
		return nil
	})
	states := map[string]progress.State{}
	sink := progress.Func(func(e progress.Event) { states[e.Step] = e.State })
	if _, err := plan.Run(t.Context(), steps, sink); !errors.Is(err, boom) {
		t.Errorf("the error is %v", err)
	}
	if states["api-server"] != progress.Cancelled || states["images"] != progress.Failed {
		t.Errorf("%v", states)
	}
}

// Ctrl-C during every step: the run ends at once, with the cancellation as its
// error and the steps that are not done.
func TestPlanIsCancelledAtEveryStep(t *testing.T) {
	onBoth(t, func(t *testing.T, runtime string) {
		all, _ := fakePlan(t, runtime, noFailure)
		for _, during := range all {
			t.Run(during.ID, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				steps, ran := fakePlan(t, runtime, func(ctx context.Context, id string) error {
					if id == during.ID {
						cancel()
					}
					if id == during.ID || ctx.Err() != nil {
						<-ctx.Done()
						return fmt.Errorf("%s was waiting: %w", id, ctx.Err())
					}
					return nil
				})
				_, err := plan.Run(ctx, steps, progress.Discard())
				var failed *plan.Error
				if !errors.As(err, &failed) || !errors.Is(failed.Err, context.Canceled) {
					t.Fatalf("the error is %v", err)
				}
				if !slices.Contains(failed.Unfinished, during.ID) || len(ran())+len(failed.Unfinished) != len(steps) {
					t.Errorf("%d ran, unfinished are %v, of %d", len(ran()), failed.Unfinished, len(steps))
				}
			})
		}
	})
}

// A limit that is reached is the failure of the step that was waiting.
func TestPlanTimesOut(t *testing.T) {
	onBoth(t, func(t *testing.T, runtime string) {
		limit := errors.New("the limit was reached")
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		steps, _ := fakePlan(t, runtime, func(ctx context.Context, id string) error {
			if id == "issuer" {
				cancel(limit) // as a limit that is reached now
				<-ctx.Done()
				return fmt.Errorf("%w while waiting for Dex", context.Cause(ctx))
			}
			return nil
		})
		_, err := plan.Run(ctx, steps, progress.Discard())
		var failed *plan.Error
		if !errors.As(err, &failed) || failed.Step.ID != "issuer" || !errors.Is(err, limit) {
			t.Fatalf("the error is %v", err)
		}
	})
}

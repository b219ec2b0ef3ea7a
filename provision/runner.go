package provision

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/devenv-oidc/devenv/provision/progress"
	"github.com/devenv-oidc/devenv/provision/state"
)

// Step is one part of a plan.
type Step struct {
	// ID names the step in needs, logs and timings.
	ID string
	// Title for people.
	Title string
	// Needs are the ids of the steps that must be done first.
	Needs []string
	// Ensure observes, acts if something differs, and verifies.
	Ensure func(ctx context.Context) (changed bool, err error)
}

// StepError says which step failed.
type StepError struct {
	Step Step
	Err  error
	// Unfinished are the ids of steps that did not end well or at all.
	Unfinished []string
}

func (e *StepError) Error() string { return e.Step.Title + ": " + e.Err.Error() }

// Unwrap returns the step's own error.
func (e *StepError) Unwrap() error { return e.Err }

// run starts each step as soon as those it needs are done. The first failure
// cancels the others; run returns when all have returned. A cancelled context
// gives its cause, with the unfinished steps.
func run(ctx context.Context, steps []Step, sink progress.Sink) ([]state.Timing, error) {
	if err := validate(steps); err != nil {
		return nil, err
	}
	began := time.Now()
	inner, cancel := context.WithCancel(ctx)
	defer cancel()

	type result struct {
		step    Step
		changed bool
		err     error
		seconds float64
	}
	results := make(chan result)
	done, started := map[string]bool{}, map[string]bool{}
	running := 0
	start := func() {
		for _, s := range steps {
			if started[s.ID] || !all(done, s.Needs) || inner.Err() != nil {
				continue
			}
			started[s.ID] = true
			running++
			sink.Emit(progress.Event{Time: time.Now(), Step: s.ID, Title: s.Title, State: progress.Started})
			go func() {
				stepBegan := time.Now()
				changed, err := s.Ensure(inner)
				results <- result{s, changed, err, time.Since(stepBegan).Seconds()}
			}()
		}
	}

	var timings []state.Timing
	var failed *StepError
	for start(); running > 0; start() {
		r := <-results
		running--
		event := progress.Event{Time: time.Now(), Step: r.step.ID, Title: r.step.Title, Seconds: r.seconds}
		switch {
		case r.err == nil:
			done[r.step.ID] = true
			event.State = progress.Unchanged
			if r.changed {
				event.State = progress.Changed
			}
			timings = append(timings, state.Timing{Step: r.step.ID, Seconds: round(r.seconds), At: round(time.Since(began).Seconds())})
		case failed == nil && ctx.Err() == nil || failed == nil && !errors.Is(r.err, context.Canceled):
			failed = &StepError{Step: r.step, Err: r.err}
			event.State, event.Detail = progress.Failed, r.err.Error()
			cancel()
		default: // stopped because of another's failure, or by the caller
			event.State = progress.Cancelled
			if failed == nil {
				failed = &StepError{Step: r.step, Err: r.err}
			}
		}
		sink.Emit(event)
	}
	if failed == nil && len(done) == len(steps) {
		return timings, nil
	}
	if failed == nil {
		failed = &StepError{Step: steps[0], Err: context.Cause(ctx)}
	}
	if cause := context.Cause(ctx); cause != nil && errors.Is(cause, context.Canceled) {
		failed.Err = cause
	}
	for _, s := range steps {
		if !done[s.ID] {
			failed.Unfinished = append(failed.Unfinished, s.ID)
		}
	}
	return timings, failed
}

func round(seconds float64) float64 { return float64(int(seconds*100+0.5)) / 100 }

func all(done map[string]bool, ids []string) bool {
	for _, id := range ids {
		if !done[id] {
			return false
		}
	}
	return true
}

// validate finds steps that could never start.
func validate(steps []Step) error {
	ids := map[string]bool{}
	for _, s := range steps {
		if ids[s.ID] {
			return fmt.Errorf("two steps of the plan are called %q; give the clusters other names", s.ID)
		}
		ids[s.ID] = true
	}
	reachable := map[string]bool{}
	for again := true; again; {
		again = false
		for _, s := range steps {
			if !reachable[s.ID] && all(reachable, s.Needs) {
				reachable[s.ID], again = true, true
			}
		}
	}
	var stuck []string
	for _, s := range steps {
		if !reachable[s.ID] {
			stuck = append(stuck, s.ID)
		}
	}
	if len(stuck) > 0 {
		sort.Strings(stuck)
		return fmt.Errorf("the plan can never finish: %s", strings.Join(stuck, ", "))
	}
	return nil
}

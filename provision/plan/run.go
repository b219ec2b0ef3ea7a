package plan

import (
	"context"
	"errors"
	"time"

	"github.com/devenv-oidc/devenv/provision/progress"
)

// Error says which step failed.
type Error struct {
	Step Step
	Err  error
	// Unfinished are the ids of steps that did not end well or at all.
	Unfinished []string
}

func (e *Error) Error() string { return e.Step.Title + ": " + e.Err.Error() }

// Unwrap returns the step's own error.
func (e *Error) Unwrap() error { return e.Err }

// Run starts each step as soon as those it needs are done. The first failure
// cancels the others; Run returns when all have returned. The error is an *Error;
// that of a cancelled context holds the context's cause.
func Run(ctx context.Context, steps []Step, sink progress.Sink) ([]progress.Timing, error) {
	if err := Validate(steps); err != nil {
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

	var timings []progress.Timing
	var failed *Error
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
			timings = append(timings, progress.Timing{Step: r.step.ID, Seconds: round(r.seconds), At: round(time.Since(began).Seconds())})
		case failed == nil && ctx.Err() == nil || failed == nil && !errors.Is(r.err, context.Canceled):
			failed = &Error{Step: r.step, Err: r.err}
			event.State, event.Detail = progress.Failed, r.err.Error()
			cancel()
		default: // stopped because of another's failure, or by the caller
			event.State = progress.Cancelled
			if failed == nil {
				failed = &Error{Step: r.step, Err: r.err}
			}
		}
		sink.Emit(event)
	}
	if failed == nil && len(done) == len(steps) {
		return timings, nil
	}
	if failed == nil {
		failed = &Error{Step: steps[0], Err: context.Cause(ctx)}
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

// round to hundredths.
func round(seconds float64) float64 { return float64(int(seconds*100+0.5)) / 100 }

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
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &run{
		steps: steps, sink: sink, began: time.Now(), results: make(chan result),
		done: map[string]bool{}, started: map[string]bool{},
	}
	for r.start(inner); r.running > 0; r.start(inner) {
		if r.ended(ctx, <-r.results); r.failed != nil {
			cancel()
		}
	}
	if r.failed == nil && len(r.done) < len(steps) { // cancelled before a step could start
		r.failed = &Error{Step: steps[0], Err: context.Cause(ctx)}
	}
	if r.failed == nil {
		return r.timings, nil
	}
	return r.timings, r.failure(ctx)
}

// run is a plan on its way; one goroutine alone uses it.
type run struct {
	steps         []Step
	sink          progress.Sink
	began         time.Time
	results       chan result
	started, done map[string]bool
	running       int
	timings       []progress.Timing
	failed        *Error
}

type result struct {
	step    Step
	changed bool
	err     error
	seconds float64
}

// start starts every step whose needs are done.
func (r *run) start(ctx context.Context) {
	for _, s := range r.steps {
		if r.started[s.ID] || !all(r.done, s.Needs) || ctx.Err() != nil {
			continue
		}
		r.started[s.ID] = true
		r.running++
		started := progress.Event{Time: time.Now(), Step: s.ID, Title: s.Title, State: progress.Started}
		r.sink.Emit(started)
		go func() {
			began := time.Now()
			changed, err := s.Ensure(progress.WithStep(ctx, started, r.sink))
			r.results <- result{s, changed, err, time.Since(began).Seconds()}
		}()
	}
}

// ended notes how a step ended; ctx is the caller's, which says whether it was
// stopped from outside.
func (r *run) ended(ctx context.Context, got result) {
	r.running--
	event := progress.Event{Time: time.Now(), Step: got.step.ID, Title: got.step.Title, Seconds: got.seconds}
	switch {
	case got.err == nil:
		r.done[got.step.ID] = true
		event.State = progress.Unchanged
		if got.changed {
			event.State = progress.Changed
		}
		r.timings = append(r.timings, progress.Timing{Step: got.step.ID, Seconds: round(got.seconds), At: round(time.Since(r.began).Seconds())})
	case r.failed == nil && (ctx.Err() == nil || !errors.Is(got.err, context.Canceled)):
		r.failed = &Error{Step: got.step, Err: got.err}
		event.State, event.Detail = progress.Failed, got.err.Error()
	default: // stopped because of another's failure, or by the caller
		event.State = progress.Cancelled
		if r.failed == nil {
			r.failed = &Error{Step: got.step, Err: got.err}
		}
	}
	r.sink.Emit(event)
}

// failure is the error of the plan, with the steps that are not done.
func (r *run) failure(ctx context.Context) *Error {
	if cause := context.Cause(ctx); cause != nil && errors.Is(cause, context.Canceled) {
		r.failed.Err = cause
	}
	for _, s := range r.steps {
		if !r.done[s.ID] {
			r.failed.Unfinished = append(r.failed.Unfinished, s.ID)
		}
	}
	return r.failed
}

// round to hundredths.
func round(seconds float64) float64 { return float64(int(seconds*100+0.5)) / 100 }

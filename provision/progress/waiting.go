package progress

import (
	"context"
	"strings"
	"time"
)

// step is who waits, in a context.
type step struct {
	event Event
	sink  Sink
}

type stepKey struct{}

// WithStep makes a context by which whoever waits can say so for a step; started
// is the event of its start.
func WithStep(ctx context.Context, started Event, sink Sink) context.Context {
	return context.WithValue(ctx, stepKey{}, step{started, sink})
}

// StillWaiting says what the context's step waits for, and the last reason that
// it is not so; it does nothing where there is no step.
func StillWaiting(ctx context.Context, what string, last error) {
	s, ok := ctx.Value(stepKey{}).(step)
	if !ok {
		return
	}
	e := s.event
	e.State, e.Seconds, e.Time, e.Detail = Waiting, time.Since(e.Time).Seconds(), time.Now(), what
	if last != nil {
		reason, _, _ := strings.Cut(last.Error(), "\n")
		e.Detail += ": " + reason
	}
	s.sink.Emit(e)
}

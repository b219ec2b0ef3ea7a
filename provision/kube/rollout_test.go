package kube

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A request that the end of the wait cut short says nothing; what was seen
// before does.
func TestPollGivesTheLastRealReason(t *testing.T) {
	ctx, cancel := context.WithTimeoutCause(t.Context(), 30*time.Millisecond, errors.New("the limit was reached"))
	defer cancel()
	first := true
	err := PollEvery(ctx, time.Millisecond, "a pod", func(ctx context.Context) error {
		if first {
			first = false
			return errors.New("it is Pending")
		}
		<-ctx.Done()
		return ctx.Err()
	})
	if err == nil || err.Error() != "the limit was reached while waiting for a pod: it is Pending" {
		t.Errorf("%v", err)
	}
}

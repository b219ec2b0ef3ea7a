package kube

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/devenv-oidc/devenv/provision/progress"
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

// A wait that takes long says what for, and why it is not so yet.
func TestPollSaysWhatItWaitsFor(t *testing.T) {
	noteAfter = 5 * time.Millisecond
	defer func() { noteAfter = 15 * time.Second }()
	var said []progress.Event
	sink := progress.Func(func(e progress.Event) { said = append(said, e) })
	ctx := progress.WithStep(t.Context(), progress.Event{Time: time.Now(), Step: "dex", Title: "Install Dex"}, sink)
	err := PollEvery(ctx, time.Millisecond, "a pod", func(context.Context) error {
		if len(said) < 2 {
			return errors.New("it is Pending\nand more")
		}
		return nil
	})
	if err != nil || len(said) != 2 {
		t.Fatalf("%v, %d events", err, len(said))
	}
	if e := said[0]; e.State != progress.Waiting || e.Step != "dex" || e.Title != "Install Dex" || e.Detail != "a pod: it is Pending" || e.Seconds <= 0 {
		t.Errorf("%+v", e)
	}
}

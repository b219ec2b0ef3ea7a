package kube

import (
	"testing"
	"time"
)

func TestStuckIsWhatDoesNotChange(t *testing.T) {
	s, start := stillness{}, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, step := range []struct {
		after       time.Duration
		status, log string
		want        bool
	}{
		{0, "started", "", false},
		{59 * time.Second, "started", "", false},
		{61 * time.Second, "started", "migrating", false}, // its log went on: a minute from here
		{100 * time.Second, "started", "migrating", false},
		{110 * time.Second, "restarted", "migrating", false}, // and so did its status
		{169 * time.Second, "restarted", "migrating", false},
		{170 * time.Second, "restarted", "migrating", true},
	} {
		if got := s.stuck("c", step.status, start.Add(step.after), func() string { return step.log }); got != step.want {
			t.Errorf("after %s: %v", step.after, got)
		}
	}
	if s.stuck("other", "started", start.Add(time.Hour), func() string { return "" }) {
		t.Error("one that was never seen is stuck")
	}
}

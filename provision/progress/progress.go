// Package progress tells what a plan is doing: for people on a terminal, for
// logs as plain lines, and for programs as JSON.
package progress

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// State of a step.
type State string

// The states a step goes through: started, waiting any number of times, then one
// of the others.
const (
	Started State = "started"
	// Waiting says in its Detail what a step has waited for, and the last reason.
	Waiting   State = "waiting"
	Changed   State = "changed"
	Unchanged State = "unchanged"
	Failed    State = "failed"
	Cancelled State = "cancelled"
	// Note is no state of a step: its Detail is a line for whoever watches.
	Note State = "note"
)

// Event is one change of one step.
type Event struct {
	Time  time.Time `json:"time"`
	Step  string    `json:"step,omitempty"`
	Title string    `json:"title,omitempty"`
	State State     `json:"state"`
	// Seconds since the step started.
	Seconds float64 `json:"seconds"`
	// Detail in a few words: what was changed, or the error.
	Detail string `json:"detail,omitempty"`
}

// Sink takes events, from several goroutines at once.
type Sink interface {
	Emit(Event)
}

// Func makes a Sink of a function, which is called by one goroutine at a time.
func Func(f func(Event)) Sink { return &funcSink{f: f} }

type funcSink struct {
	mu sync.Mutex
	f  func(Event)
}

func (s *funcSink) Emit(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.f(e)
}

// Discard takes events and tells nobody.
func Discard() Sink { return Func(func(Event) {}) }

// Plain writes a line when a step ends.
func Plain(w io.Writer) Sink {
	return Func(func(e Event) {
		if e.State != Started {
			fmt.Fprintln(w, line(e))
		}
	})
}

// JSON writes every event as a line of JSON.
func JSON(w io.Writer) Sink {
	encoder := json.NewEncoder(w)
	return Func(func(e Event) { _ = encoder.Encode(e) })
}

var marks = map[State]string{Waiting: "…", Changed: "✓", Unchanged: "·", Failed: "✗", Cancelled: "–"}

func line(e Event) string {
	if e.State == Note {
		return " ! " + e.Detail
	}
	text := fmt.Sprintf(" %s %-52s %6.1fs", marks[e.State], e.Title, e.Seconds)
	switch {
	case e.State == Unchanged:
		text += "  unchanged"
	case e.State == Cancelled:
		text += "  stopped"
	case e.State == Waiting:
		text += "  waiting for " + e.Detail
	case e.Detail != "" && e.State == Changed:
		text += "  " + e.Detail
	}
	return text
}

// Timing is how long one step took.
type Timing struct {
	Step    string  `json:"step"`
	Seconds float64 `json:"seconds"`
	// At is when it ended, in seconds after the plan began.
	At float64 `json:"at"`
}

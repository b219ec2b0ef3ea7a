package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

const (
	frameInterval = 120 * time.Millisecond
	frames        = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
)

// Terminal shows the running steps, with their elapsed time, under the lines
// of those that ended. Close it to leave the terminal clean.
type Terminal struct {
	mu      sync.Mutex
	w       io.Writer
	width   int
	running []Event
	drawn   int // lines of running steps now on the screen
	frame   int
	done    chan struct{}
	stopped sync.WaitGroup
}

// NewTerminal draws on w, a terminal of that many columns.
func NewTerminal(w io.Writer, columns int) *Terminal {
	t := &Terminal{w: w, width: max(columns, 40), done: make(chan struct{})}
	t.stopped.Go(func() {
		ticker := time.NewTicker(frameInterval)
		defer ticker.Stop()
		for {
			select {
			case <-t.done:
				return
			case <-ticker.C:
				t.mu.Lock()
				t.frame++
				t.redraw("")
				t.mu.Unlock()
			}
		}
	})
	return t
}

// Emit takes an event.
func (t *Terminal) Emit(e Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.State == Started {
		t.running = append(t.running, e)
		t.redraw("")
		return
	}
	for i, r := range t.running {
		if r.Step != e.Step {
			continue
		}
		if e.State == Waiting {
			t.running[i].Detail = e.Detail
			t.redraw("")
			return
		}
		t.running = append(t.running[:i], t.running[i+1:]...)
		break
	}
	text := line(e)
	if e.State != Note { // which may take several lines
		text = t.clip(text)
	}
	t.redraw(text + "\n")
}

// Close stops drawing and wipes the lines of running steps.
func (t *Terminal) Close() {
	close(t.done)
	t.stopped.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running = nil
	t.redraw("")
}

// redraw wipes the running steps, prints above, and draws them again in one
// write, so that nothing flickers.
func (t *Terminal) redraw(above string) {
	var b strings.Builder
	if t.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\x1b[J", t.drawn)
	}
	b.WriteString(above)
	spinner := []rune(frames)
	for i, r := range t.running {
		mark := string(spinner[(t.frame+i)%len(spinner)])
		text := fmt.Sprintf(" %s %-52s %6.1fs", mark, r.Title, time.Since(r.Time).Seconds())
		if r.Detail != "" {
			text += "  waiting for " + r.Detail
		}
		b.WriteString(t.clip(text) + "\n")
	}
	t.drawn = len(t.running)
	_, _ = io.WriteString(t.w, b.String())
}

func (t *Terminal) clip(s string) string {
	if r := []rune(s); len(r) > t.width {
		return string(r[:t.width-1]) + "…"
	}
	return s
}

package progress

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

var events = []Event{
	{Step: "node", Title: "Node", State: Started},
	{Step: "node", Title: "Node", State: Changed, Seconds: 2.04},
	{Step: "dns", Title: "DNS", State: Started},
	{Step: "dns", Title: "DNS", State: Unchanged, Seconds: 0.1},
	{Step: "dex", Title: "Dex", State: Started},
	{Step: "dex", Title: "Dex", State: Failed, Seconds: 3, Detail: "no"},
}

func TestPlainIsALineAStep(t *testing.T) {
	var out bytes.Buffer
	sink := Plain(&out)
	for _, e := range events {
		sink.Emit(e)
	}
	lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], " ✓ Node ") || !strings.HasSuffix(lines[0], " 2.0s") ||
		!strings.HasSuffix(lines[1], "unchanged") || !strings.HasPrefix(lines[2], " ✗ Dex ") || strings.Contains(out.String(), "\x1b") {
		t.Errorf("%q", lines)
	}
}

func TestJSONIsEveryEvent(t *testing.T) {
	var out bytes.Buffer
	sink := JSON(&out)
	for _, e := range events {
		sink.Emit(e)
	}
	decoder, n := json.NewDecoder(&out), 0
	for ; decoder.More(); n++ {
		var e Event
		if err := decoder.Decode(&e); err != nil || e.State != events[n].State || e.Step != events[n].Step {
			t.Errorf("%d: %+v, %v", n, e, err)
		}
	}
	if n != len(events) {
		t.Errorf("%d events", n)
	}
}

// What a terminal shows in the end: the lines of the steps that ended, and
// nothing of those that were running.
func TestTerminalLeavesOnlyWhatEnded(t *testing.T) {
	var out bytes.Buffer
	terminal := NewTerminal(&out, 80)
	for _, e := range events {
		e.Time = time.Now()
		terminal.Emit(e)
	}
	terminal.Emit(Event{Time: time.Now(), Step: "late", Title: "Late", State: Started})
	terminal.Close()
	if got := screen(out.String()); len(got) != 3 || !strings.HasPrefix(got[0], " ✓ Node") || !strings.HasPrefix(got[2], " ✗ Dex") {
		t.Errorf("%q", got)
	}
}

// screen plays the two control sequences that Terminal uses: up, and wipe below.
func screen(written string) []string {
	var lines []string
	for written != "" {
		if rest, ok := strings.CutPrefix(written, "\x1b["); ok {
			n := 0
			for rest[0] >= '0' && rest[0] <= '9' {
				n, rest = n*10+int(rest[0]-'0'), rest[1:]
			}
			if rest[0] == 'A' {
				lines = lines[:len(lines)-n] // Terminal always wipes after going up
			}
			written = rest[1:]
			continue
		}
		line, rest, _ := strings.Cut(written, "\n")
		lines, written = append(lines, line), rest
	}
	return lines
}

// A step that waits for long says so: once a line in a log, on its own line on a
// terminal, which is gone when the step ends.
func TestWaiting(t *testing.T) {
	waits := Event{Step: "dex", Title: "Install Dex", State: Waiting, Seconds: 15, Detail: "Deployment dex/dex: 0 of 1 pods are available"}
	var plain bytes.Buffer
	Plain(&plain).Emit(waits)
	if got := plain.String(); got != " … Install Dex                                            15.0s  waiting for Deployment dex/dex: 0 of 1 pods are available\n" {
		t.Errorf("%q", got)
	}
	var out bytes.Buffer
	terminal := NewTerminal(&out, 120)
	began := waits
	began.State, began.Detail, began.Time = Started, "", time.Now()
	terminal.Emit(began)
	terminal.Emit(waits)
	if got := screen(out.String()); len(got) != 1 || !strings.Contains(got[0], "waiting for Deployment dex/dex") {
		t.Errorf("%q", got)
	}
	terminal.Emit(Event{Step: "dex", Title: "Install Dex", State: Changed, Seconds: 20})
	terminal.Close()
	if got := screen(out.String()); len(got) != 1 || strings.Contains(got[0], "waiting") || !strings.HasPrefix(got[0], " ✓ Install Dex") {
		t.Errorf("%q", got)
	}
}

// Package lifetime says when an environment is over: at a time, or when the
// processes that it was made for are gone. It is a file of its own in the state
// folder, so that a damaged record does not make an environment eternal.
package lifetime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/devenv-oidc/devenv/provision/process"
	"github.com/devenv-oidc/devenv/provision/state"
)

// Lifetime of an environment; the zero one is endless.
type Lifetime struct {
	// Until is when it is over; zero where no time ends it.
	Until time.Time `json:"until,omitzero"`
	// Owners are the processes that it was made for: it is over when all of them
	// are gone.
	Owners []process.Owner `json:"owners,omitempty"`
}

const file = "lifetime.json"

// Endless says that nothing but `down` ends the environment.
func (l Lifetime) Endless() bool { return l.Until.IsZero() && len(l.Owners) == 0 }

// Over says why the environment is over, in words that follow its name; empty
// while it is not.
func (l Lifetime) Over() string {
	if !l.Until.IsZero() && !time.Now().Before(l.Until) {
		return "its time was over at " + l.Until.Local().Format(time.DateTime)
	}
	if len(l.Owners) > 0 && !slices.ContainsFunc(l.Owners, func(o process.Owner) bool { return !o.Gone() }) {
		return l.owners() + " " + map[bool]string{true: "is", false: "are"}[len(l.Owners) == 1] + " gone"
	}
	return ""
}

// String says what ends the environment: "at 2030-01-02 15:04:05", "with
// process 42".
func (l Lifetime) String() string {
	var ends []string
	if !l.Until.IsZero() {
		ends = append(ends, "at "+l.Until.Local().Format(time.DateTime))
	}
	if len(l.Owners) > 0 {
		ends = append(ends, "with "+l.owners())
	}
	return strings.Join(ends, " or ")
}

func (l Lifetime) owners() string {
	var numbers []string
	for _, o := range l.Owners {
		numbers = append(numbers, fmt.Sprint(o.PID))
	}
	if len(numbers) == 1 {
		return "process " + numbers[0]
	}
	return "processes " + strings.Join(numbers, ", ")
}

// With is the lifetime with one more owner.
func (l Lifetime) With(o process.Owner) Lifetime {
	if slices.Contains(l.Owners, o) {
		return l
	}
	// those that are gone say nothing any more
	living := slices.DeleteFunc(slices.Clone(l.Owners), process.Owner.Gone)
	return Lifetime{Until: l.Until, Owners: append(living, o)}
}

// Read reads the lifetime of an environment: endless where nothing is said.
func Read(dir state.Dir) (Lifetime, error) {
	var l Lifetime
	text, err := dir.Read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &l)
	}
	if err != nil {
		return Lifetime{}, fmt.Errorf("could not read how long the environment lives: %w", err)
	}
	return l, nil
}

// Write stores the lifetime of an environment.
func (l Lifetime) Write(dir state.Dir) error {
	if l.Endless() {
		if err := os.Remove(dir.Path(file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	text, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	_, err = dir.Write(append(text, '\n'), file)
	return err
}

// Interval is how often it is asked whether an environment is over.
const Interval = time.Second

// Within ends the context when the lifetime is over.
func (l Lifetime) Within(ctx context.Context) (context.Context, context.CancelFunc) {
	if l.Endless() {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		tick := time.NewTicker(Interval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if why := l.Over(); why != "" {
					cancel(errors.New(why))
					return
				}
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}

// Package plan is the step engine: steps with needs, and Run, which starts each
// as soon as its needs are done. It knows nothing of what the steps do.
package plan

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Ensure observes, acts if something differs, and verifies.
type Ensure = func(ctx context.Context) (changed bool, err error)

// Step is one part of a plan.
type Step struct {
	// ID names the step in needs, logs and timings.
	ID string
	// Title for people: the act and its object, in few words.
	Title string
	// Needs are the ids of the steps that must be done first.
	Needs []string
	// Ensure is the step itself.
	Ensure Ensure
}

// NewStep makes a step, for plans to read as a table.
func NewStep(id, title string, needs []string, ensure Ensure) Step {
	return Step{ID: id, Title: title, Needs: needs, Ensure: ensure}
}

// Needs makes a list of ids.
func Needs(ids ...string) []string { return ids }

// Explained makes every step explain its error.
func Explained(steps []Step, explain func(error) error) []Step {
	for i := range steps {
		ensure := steps[i].Ensure
		steps[i].Ensure = func(ctx context.Context) (bool, error) {
			changed, err := ensure(ctx)
			return changed, explain(err)
		}
	}
	return steps
}

// Last are the ids of the steps that no other step needs.
func Last(steps []Step) []string {
	needed := map[string]bool{}
	for _, s := range steps {
		for _, id := range s.Needs {
			needed[id] = true
		}
	}
	var ids []string
	for _, s := range steps {
		if !needed[s.ID] {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// Without is a plan without some of its steps: what needed them needs what they
// needed.
func Without(steps []Step, ids ...string) []Step {
	needsOf := map[string][]string{}
	for _, s := range steps {
		if slices.Contains(ids, s.ID) {
			needsOf[s.ID] = s.Needs
		}
	}
	var expand func(needs []string) []string
	expand = func(needs []string) []string {
		var list []string
		for _, need := range needs {
			further := []string{need}
			if theirs, left := needsOf[need]; left {
				further = expand(theirs)
			}
			for _, id := range further {
				if !slices.Contains(list, id) {
					list = append(list, id)
				}
			}
		}
		return list
	}
	var list []Step
	for _, s := range steps {
		if _, left := needsOf[s.ID]; !left {
			s.Needs = expand(s.Needs)
			list = append(list, s)
		}
	}
	return list
}

// Validate finds steps that could never start: two of one id, circles, needs
// that are in no plan.
func Validate(steps []Step) error {
	ids := map[string]bool{}
	for _, s := range steps {
		if ids[s.ID] {
			return fmt.Errorf("two steps of the plan are called %q; give the clusters other names", s.ID)
		}
		ids[s.ID] = true
	}
	reachable := map[string]bool{}
	for again := true; again; {
		again = false
		for _, s := range steps {
			if !reachable[s.ID] && all(reachable, s.Needs) {
				reachable[s.ID], again = true, true
			}
		}
	}
	var stuck []string
	for _, s := range steps {
		if !reachable[s.ID] {
			stuck = append(stuck, s.ID)
		}
	}
	if len(stuck) > 0 {
		sort.Strings(stuck)
		return fmt.Errorf("the plan can never finish: %s%s", strings.Join(stuck, ", "), unknown(steps, ids))
	}
	return nil
}

// unknown names what steps need and no plan has.
func unknown(steps []Step, ids map[string]bool) string {
	text := ""
	for _, s := range steps {
		for _, need := range s.Needs {
			if !ids[need] {
				text += fmt.Sprintf("; %s needs %s, which is no step", s.ID, need)
			}
		}
	}
	return text
}

func all(done map[string]bool, ids []string) bool {
	for _, id := range ids {
		if !done[id] {
			return false
		}
	}
	return true
}

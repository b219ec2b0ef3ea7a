package failure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
)

func TestClassAndHints(t *testing.T) {
	inner := New(Prerequisite, errors.New("no engine"), "install one")
	outer := New(Provisioning, fmt.Errorf("node: %w", inner), "try again", "or not")
	for err, want := range map[error]Class{
		inner:                                 Prerequisite,
		outer:                                 Provisioning,
		fmt.Errorf("up: %w", outer):           Provisioning,
		errors.Join(errors.New("x"), inner):   Prerequisite,
		errors.New("plain"):                   Unexpected,
		fmt.Errorf("x: %w", context.Canceled): Interrupted,
	} {
		if got := ClassOf(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
	if got := HintsOf(fmt.Errorf("up: %w", outer)); !slices.Equal(got, []string{"try again", "or not", "install one"}) {
		t.Errorf("hints %q", got)
	}
	if got := Newf(Usage, "no %s", "x").Hint("see %d", 1); got.Error() != "no x" || got.Hints[0] != "see 1" {
		t.Errorf("%+v", got)
	}
}

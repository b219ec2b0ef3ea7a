package plan

import (
	"strings"
	"testing"

	"github.com/devenv-oidc/devenv/provision/progress"
)

func TestPlanThatCannotFinish(t *testing.T) {
	for name, steps := range map[string][]Step{
		"a circle":        {{ID: "a", Needs: Needs("b")}, {ID: "b", Needs: Needs("a")}},
		"an unknown step": {{ID: "a", Needs: Needs("c")}},
	} {
		if _, err := Run(t.Context(), steps, progress.Discard()); err == nil || !strings.Contains(err.Error(), "can never finish: a") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

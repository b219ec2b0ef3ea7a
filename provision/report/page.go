package report

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/devenv-oidc/devenv/provision/check"
	"github.com/devenv-oidc/devenv/provision/diagnosis"
	"github.com/devenv-oidc/devenv/provision/progress"
)

//go:embed page.html
var pageSource string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"mark": func(s diagnosis.State) string { return marks[s] },
	"value": func(v any) (string, error) { // else times would be shown as 1.8e+09
		text, err := json.Marshal(v)
		return string(text), err
	},
	"words": func(list []string) string { return strings.Join(list, ", ") },
}).Parse(pageSource))

var marks = map[diagnosis.State]string{diagnosis.OK: "✓", diagnosis.Warning: "!", diagnosis.Failed: "✗", diagnosis.NotReached: "–"}

// bar is a step in the chart of timings; lengths are percentages of the whole.
type bar struct {
	Step        string
	At, Seconds float64
	Left, Width float64
}

// page is the report for a maintainer, who opens it first. It needs nothing but
// a browser: no script, no other file, no network.
func (r *Report) page() ([]byte, error) {
	var failed []check.Result
	for _, result := range r.Results {
		if !result.OK {
			failed = append(failed, result)
		}
	}
	var out bytes.Buffer
	err := pageTemplate.Execute(&out, map[string]any{
		"R": r, "Failed": failed, "Bars": bars(r.Timings), "Verdict": r.verdict(len(failed)),
	})
	return out.Bytes(), err
}

// verdict is the case in one sentence.
func (r *Report) verdict(failed int) string {
	switch {
	case r.Doctor != nil && r.Doctor.FirstFailure != "":
		return "A login fails at the hop " + r.Doctor.FirstFailure + "."
	case failed > 0:
		return fmt.Sprintf("Logins work; %d of %d proofs fail.", failed, len(r.Results))
	case !r.Ready:
		return "Logins work, but the last devenv up did not succeed."
	}
	return "Nothing fails."
}

func bars(timings []progress.Timing) []bar {
	total := 0.0
	for _, t := range timings {
		total = max(total, t.At)
	}
	var list []bar
	for _, t := range timings {
		left := max(0, t.At-t.Seconds)
		list = append(list, bar{Step: t.Step, At: left, Seconds: t.Seconds, Left: percent(left, total), Width: max(0.3, percent(t.Seconds, total))})
	}
	slices.SortStableFunc(list, func(a, b bar) int { return int((a.At - b.At) * 100) })
	return list
}

func percent(part, total float64) float64 {
	if total == 0 {
		return 0
	}
	return part / total * 100
}

package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/devenv-oidc/devenv/provision"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/progress"
)

// foldLog folds what is narrated in the log of a GitHub job
// (https://docs.github.com/actions/reference/workflow-commands-for-github-actions).
func foldLog(w io.Writer, title string) (unfold func()) {
	if os.Getenv("GITHUB_ACTIONS") != "true" {
		return func() {}
	}
	fmt.Fprintf(w, "::group::%s\n", title)
	return func() { fmt.Fprintln(w, "::endgroup::") }
}

// summarize adds what became of an `up` to the page of a GitHub job: to the file
// in GITHUB_STEP_SUMMARY, in Markdown. A job that has none is none.
func summarize(r *recorder, name string, status *provision.Status, upErr error) error {
	file := os.Getenv("GITHUB_STEP_SUMMARY")
	if file == "" {
		return nil
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return failure.New(failure.Usage, fmt.Errorf("could not write to GITHUB_STEP_SUMMARY: %w", err))
	}
	defer f.Close()
	_, err = io.WriteString(f, summary(r.steps, name, status, upErr))
	return err
}

func summary(steps []progress.Event, name string, status *provision.Status, upErr error) string {
	var b strings.Builder
	cell := strings.NewReplacer("|", `\|`, "\n", "<br>", "<", "&lt;")
	switch {
	case upErr != nil:
		fmt.Fprintf(&b, "### devenv: %s failed\n\n```\n%v\n", name, upErr)
		for _, hint := range failure.HintsOf(upErr) {
			fmt.Fprintf(&b, "hint: %s\n", hint)
		}
		b.WriteString("```\n\n")
	case status != nil:
		fmt.Fprintf(&b, "### devenv: %s is ready and proven\n\n", name)
		fmt.Fprintf(&b, "Profile %s, runtime %s, issuer %s\n\n", status.Profile, status.Runtime, status.Issuer.URL)
		b.WriteString("| user | groups |\n|---|---|\n")
		for _, u := range status.Users {
			fmt.Fprintf(&b, "| %s | %s |\n", cell.Replace(u.Email), cell.Replace(strings.Join(u.Groups, ", ")))
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "<details><summary>%d steps</summary>\n\n| step | state | seconds | |\n|---|---|---|---|\n", len(steps))
	for _, e := range steps {
		fmt.Fprintf(&b, "| %s | %s | %.1f | %s |\n", cell.Replace(e.Title), e.State, e.Seconds, cell.Replace(e.Detail))
	}
	b.WriteString("\n</details>\n\n")
	return b.String()
}

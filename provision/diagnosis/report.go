// Package diagnosis says why a login does not work: it follows one hop by hop,
// from the machine to RBAC, and names the first hop that fails. It only reads.
//
// The path of a login is the list in login.go.
package diagnosis

import (
	"context"

	"github.com/devenv-oidc/devenv/provision/failure"
)

// State of a hop.
type State string

// The states; a hop after the first that failed is not reached.
const (
	OK         State = "ok"
	Warning    State = "warning"
	Failed     State = "failed"
	NotReached State = "not-reached"
)

// Hop is one station of a login. Its JSON is a contract with scripts.
type Hop struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	// Detail is what was found.
	Detail string `json:"detail,omitempty"`
	// Log holds lines of the API server's or Dex's own log, where they say why.
	Log string `json:"log,omitempty"`
	// Remedy is what to do, often the command to type.
	Remedy string `json:"remedy,omitempty"`
}

// Report is all that was found.
type Report struct {
	// FirstFailure is the name of the first hop that failed; "" where all is
	// well.
	FirstFailure string `json:"firstFailure"`
	Hops         []Hop  `json:"hops"`
}

// Error is of class Rejected where a hop failed, with the remedy as its hint.
func (r *Report) Error() error {
	for _, h := range r.Hops {
		if h.State == Failed {
			err := failure.Newf(failure.Rejected, "the first hop that fails is %s: %s", h.Name, h.Detail)
			if h.Remedy != "" {
				return err.Hint("%s", h.Remedy)
			}
			return err
		}
	}
	return nil
}

// finding is what a hop found, without its name.
type finding struct {
	state               State
	detail, log, remedy string
}

func ok(detail string) finding { return finding{state: OK, detail: detail} }

func warning(detail, remedy string) finding {
	return finding{state: Warning, detail: detail, remedy: remedy}
}

func failed(detail, remedy string) finding {
	return finding{state: Failed, detail: detail, remedy: remedy}
}

func (f finding) withLog(log string) finding {
	f.log = log
	return f
}

// hop is one entry of a list: its name and how it is looked at.
type hop struct {
	name string
	look func(ctx context.Context) finding
}

// follow looks at hops in order; those after one that failed are not reached.
func follow(ctx context.Context, report *Report, path []hop) {
	for _, h := range path {
		if report.FirstFailure != "" {
			report.Hops = append(report.Hops, Hop{Name: h.name, State: NotReached})
			continue
		}
		report.add(h.name, h.look(ctx))
	}
}

// besides looks at hops that do not depend on each other.
func besides(ctx context.Context, report *Report, list []hop) {
	for _, h := range list {
		report.add(h.name, h.look(ctx))
	}
}

func (r *Report) add(name string, f finding) {
	r.Hops = append(r.Hops, Hop{Name: name, State: f.state, Detail: f.detail, Log: f.log, Remedy: f.remedy})
	if f.state == Failed && r.FirstFailure == "" {
		r.FirstFailure = name
	}
}

package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/devenv-oidc/devenv/provision/check"
	"github.com/devenv-oidc/devenv/provision/diagnosis"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/progress"
)

// junitSuite is what CI systems read, in the form they agree on:
// https://github.com/testmoapp/junitxml
type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr,omitempty"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class string `xml:"classname,attr"`
	Name  string `xml:"name,attr"`
	// Time in seconds.
	Time    string     `xml:"time,attr,omitempty"`
	Failure *junitText `xml:"failure,omitempty"`
	Skipped *junitText `xml:"skipped,omitempty"`
}

type junitText struct {
	Message string `xml:"message,attr"`
}

func (s *junitSuite) add(c junitCase) {
	s.Tests++
	if c.Failure != nil {
		s.Failures++
	}
	if c.Skipped != nil {
		s.Skipped++
	}
	s.Cases = append(s.Cases, c)
}

func (s *junitSuite) write(w io.Writer) error {
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(s); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func proofsJUnit(report *check.Report) *junitSuite {
	suite := &junitSuite{Name: "devenv check"}
	for _, r := range report.Results {
		c := junitCase{Class: "devenv." + r.Group, Name: r.Name}
		if !r.OK {
			c.Failure = &junitText{r.Detail}
		}
		suite.add(c)
	}
	return suite
}

func hopsJUnit(report *diagnosis.Report) *junitSuite {
	suite := &junitSuite{Name: "devenv doctor"}
	for _, h := range report.Hops {
		c := junitCase{Class: "devenv.doctor", Name: h.Name}
		switch h.State {
		case diagnosis.Failed:
			c.Failure = &junitText{h.Detail}
		case diagnosis.NotReached:
			c.Skipped = &junitText{"not reached"}
		}
		suite.add(c)
	}
	return suite
}

// recorder remembers the steps of an `up`, for whoever reads about it later.
type recorder struct {
	progress.Sink
	mu    sync.Mutex
	steps []progress.Event
}

// Emit implements progress.Sink.
func (r *recorder) Emit(e progress.Event) {
	r.mu.Lock()
	switch e.State {
	case progress.Changed, progress.Unchanged, progress.Failed, progress.Cancelled:
		r.steps = append(r.steps, e)
	}
	r.mu.Unlock()
	r.Sink.Emit(e)
}

// openJUnit empties the file that the steps go to, before anything is made: what
// an earlier run wrote must not be taken for this one's. nil where none is named.
func (r *recorder) openJUnit(file string) (*os.File, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, failure.New(failure.Usage, fmt.Errorf("could not write --junit: %w", err))
	}
	return f, nil
}

// writeJUnit writes the steps of an `up` that ended with upErr, and closes the
// file. One that failed outside of any step has a case of its own.
func (r *recorder) writeJUnit(f *os.File, upErr error) error {
	suite := &junitSuite{Name: "devenv up"}
	for _, e := range r.steps {
		c := junitCase{Class: "devenv.up", Name: e.Title, Time: fmt.Sprintf("%.3f", e.Seconds)}
		switch e.State {
		case progress.Failed:
			c.Failure = &junitText{e.Detail}
		case progress.Cancelled:
			c.Skipped = &junitText{"stopped"}
		}
		suite.add(c)
	}
	if upErr != nil && suite.Failures == 0 {
		suite.add(junitCase{Class: "devenv.up", Name: "up", Failure: &junitText{upErr.Error()}})
	}
	if err := errors.Join(suite.write(f), f.Close()); err != nil {
		return failure.New(failure.Usage, fmt.Errorf("could not write --junit: %w", err))
	}
	return nil
}

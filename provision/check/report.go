// Package check proves an environment: it asks the API server itself who
// somebody is and what they are allowed to do, runs the real kubectl, and sends
// tokens that must be rejected.
package check

import "fmt"

// Result is one proof.
type Result struct {
	// Group it belongs to: identity, token, access, kubectl, refusal, issuer.
	Group string `json:"group"`
	// Name says what was proven, as a sentence.
	Name string `json:"name"`
	// OK says whether it holds.
	OK bool `json:"ok"`
	// Detail is what was seen.
	Detail string `json:"detail,omitempty"`
}

// Report is everything that was proven, in the order of the profile.
type Report struct {
	Results []Result `json:"results"`
}

// Failed are the results that do not hold.
func (r *Report) Failed() []Result {
	var failed []Result
	for _, result := range r.Results {
		if !result.OK {
			failed = append(failed, result)
		}
	}
	return failed
}

// Error says what failed; nil when nothing did.
func (r *Report) Error() error {
	failed := r.Failed()
	if len(failed) == 0 {
		return nil
	}
	text := ""
	for _, f := range failed {
		text += fmt.Sprintf("\n  %s: %s", f.Name, f.Detail)
	}
	return fmt.Errorf("%d of %d proofs failed:%s", len(failed), len(r.Results), text)
}

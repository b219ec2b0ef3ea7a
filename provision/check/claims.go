package check

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/devenv-oidc/devenv/profiles"
)

// Claims proves what a user's token says: that it is the issuer's, and what the
// profile expects.
func Claims(l Login, issuer string, x profiles.Expectation) []Result {
	if len(x.Claims) == 0 {
		return nil
	}
	want := maps.Clone(x.Claims)
	want["iss"] = issuer
	var results []Result
	for _, claim := range slices.Sorted(maps.Keys(want)) {
		result := Result{Group: "token", Name: fmt.Sprintf("the token of %s has %s=%s", l.Email, claim, inJSON(want[claim]))}
		have, ok := l.Claims[claim]
		switch {
		case !ok:
			result.Detail = "it has no such claim"
		case holds(have, want[claim]):
			result.OK = true
		default:
			result.Detail = "it has " + inJSON(have)
		}
		results = append(results, result)
	}
	return results
}

// holds says whether a claim has a value; an audience may be one of several
// (RFC 7519, section 4.1.3).
func holds(have, want any) bool {
	if list, ok := have.([]any); ok {
		if _, several := want.([]any); !several {
			return slices.ContainsFunc(list, func(one any) bool { return inJSON(one) == inJSON(want) })
		}
	}
	return inJSON(have) == inJSON(want)
}

func inJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(text)
}

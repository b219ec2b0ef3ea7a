package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/devenv-oidc/devenv/provision/kube"
)

// logLimit is how long a reason takes at most to appear in the API server's log.
const logLimit = 5 * time.Second

// Rejections proves that the API server rejects every one of these tokens, and
// for its own reason: the answer to a bad token is always the same 401, so the
// reason is read from the API server's log.
func (c *Cluster) Rejections(ctx context.Context, list []Rejection) []Result {
	results := make([]Result, len(list))
	sent := make([]time.Time, len(list))
	for i, r := range list {
		results[i] = Result{Group: "refusal", Name: "rejected: " + r.Name}
		sent[i] = time.Now().Add(-10 * time.Millisecond) // the log's clock is the node's
		user, err := c.WhoAmI(ctx, r.Token)
		switch {
		case err == nil:
			results[i].Detail = "it was accepted, as " + user.Username
		case r.Token == "" && apierrors.IsForbidden(err) && strings.Contains(err.Error(), "system:anonymous"):
			results[i].OK, results[i].Detail = true, "403 for system:anonymous"
		case apierrors.IsUnauthorized(err):
			results[i].OK, results[i].Detail = true, "401"
		default:
			results[i].Detail = err.Error()
		}
	}
	c.findReasons(ctx, list, sent, results)
	return results
}

// findReasons adds to the results of rejected tokens the reason in the API
// server's log; one read of it is for all of them.
func (c *Cluster) findReasons(ctx context.Context, list []Rejection, sent []time.Time, results []Result) {
	limited, cancel := context.WithTimeout(ctx, logLimit)
	defer cancel()
	open := map[int]error{} // by index, with why there is none yet
	for i, r := range list {
		if r.Reason != nil && results[i].OK {
			open[i] = nil
		}
	}
	err := kube.Poll(limited, "the reasons of rejections in the API server's log", func(ctx context.Context) error {
		log, err := c.Log(ctx)
		if err != nil {
			return err
		}
		for i := range open {
			line, err := reasonIn(log, sent[i], list[i].Reason)
			if open[i] = err; err == nil {
				results[i].Detail = "401, " + line
				delete(open, i)
			}
		}
		return errors.Join(slices.Collect(maps.Values(open))...)
	})
	for i, why := range open {
		results[i].OK, results[i].Detail = false, fmt.Sprintf("%v while waiting for %q in the API server's log", cmp.Or(why, err), list[i].Reason)
	}
}

// SaysUnknownKey says whether the API server's log has, since a time, the reason
// that it could not verify a token's signature with the issuer's keys.
func (c *Cluster) SaysUnknownKey(ctx context.Context, since time.Time) bool {
	log, err := c.Log(ctx)
	return err == nil && slices.ContainsFunc(rejectionsIn(log, since), func(line string) bool {
		return strings.Contains(line, "failed to verify id token signature")
	})
}

// LastRejection is the last line of the API server's log, not older than since,
// that says why it rejected a token; empty where there is none. It works after ctx
// has ended, too.
func (c *Cluster) LastRejection(ctx context.Context, since time.Time) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logLimit)
	defer cancel()
	log, err := c.Log(ctx)
	lines := rejectionsIn(log, since)
	if err != nil || len(lines) == 0 {
		return ""
	}
	return lines[len(lines)-1]
}

// reasonIn finds a rejection in the API server's log, not older than since, that
// matches; it returns what matched.
func reasonIn(log string, since time.Time, reason *regexp.Regexp) (string, error) {
	lines := rejectionsIn(log, since)
	for _, line := range lines {
		if found := reason.FindString(line); found != "" {
			return found, nil
		}
	}
	if len(lines) == 0 {
		return "", errors.New("it has no rejection since")
	}
	return "", errors.New("the last rejection there is " + lines[len(lines)-1])
}

// rejectionsIn are the lines of the API server's log, not older than since, that
// say why it rejected a token.
func rejectionsIn(log string, since time.Time) []string {
	var lines []string
	for line := range strings.Lines(log) {
		stamp, text, _ := strings.Cut(line, " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err == nil && !at.Before(since) && strings.Contains(text, "Unable to authenticate") {
			lines = append(lines, strings.TrimSpace(text))
		}
	}
	return lines
}

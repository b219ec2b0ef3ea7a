package check

import (
	"context"
	"errors"
	"fmt"
	"regexp"
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
	limited, cancel := context.WithTimeout(ctx, logLimit)
	defer cancel()
	for i, r := range list {
		if r.Reason == nil || !results[i].OK {
			continue
		}
		line, err := c.logged(limited, sent[i], r.Reason)
		if results[i].OK = err == nil; err != nil {
			results[i].Detail = err.Error()
			continue
		}
		results[i].Detail = "401, " + line
	}
	return results
}

// SaysUnknownKey says whether the API server's log has, since a time, the reason
// that it could not verify a token's signature with the issuer's keys.
func (c *Cluster) SaysUnknownKey(ctx context.Context, since time.Time) bool {
	log, err := c.Log(ctx)
	if err != nil {
		return false
	}
	for line := range strings.Lines(log) {
		stamp, text, _ := strings.Cut(line, " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err == nil && at.After(since) && strings.Contains(text, "failed to verify id token signature") {
			return true
		}
	}
	return false
}

// logged waits for a line of the API server's log, not older than since, that
// matches; it returns what matched.
func (c *Cluster) logged(ctx context.Context, since time.Time, reason *regexp.Regexp) (string, error) {
	found := ""
	err := kube.Poll(ctx, fmt.Sprintf("%q in the API server's log", reason), func(ctx context.Context) error {
		log, err := c.Log(ctx)
		if err != nil {
			return err
		}
		last := ""
		for line := range strings.Lines(log) {
			stamp, text, _ := strings.Cut(line, " ")
			at, err := time.Parse(time.RFC3339Nano, stamp)
			if err != nil || at.Before(since) || !strings.Contains(text, "Unable to authenticate") {
				continue
			}
			if found = reason.FindString(text); found != "" {
				return nil
			}
			last = strings.TrimSpace(text)
		}
		if last != "" {
			return errors.New("the last rejection there is " + last)
		}
		return errors.New("it has no rejection since")
	})
	return found, err
}

package check

import (
	"context"
	"errors"
	"testing"
	"time"
)

const rejectionLog = `2026-01-02T10:00:00.5Z stderr F E0102 authentication.go:75] "Unable to authenticate the request" err="[invalid bearer token, oidc: verify token: failed to verify signature: failed to verify id token signature]"
2026-01-02T10:00:05Z stderr F I0102 something else
no time at all
2026-01-02T10:00:09Z stderr F E0102 authentication.go:75] "Unable to authenticate the request" err="[invalid bearer token, oidc: authenticator not initialized]"
`

func TestRejectionsInTheLog(t *testing.T) {
	c := &Cluster{Log: func(context.Context) (string, error) { return rejectionLog, nil }}
	start := time.Date(2026, 1, 2, 10, 0, 0, 0, time.UTC)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if !c.SaysUnknownKey(t.Context(), start) || c.SaysUnknownKey(t.Context(), start.Add(time.Second)) {
		t.Error("an unknown key is not found where it is said, or found where it is not")
	}
	want := `stderr F E0102 authentication.go:75] "Unable to authenticate the request" err="[invalid bearer token, oidc: authenticator not initialized]"`
	if got := c.LastRejection(ended, start); got != want {
		t.Errorf("the last is %q", got)
	}
	if got := c.LastRejection(ended, start.Add(time.Minute)); got != "" {
		t.Errorf("later there is %q", got)
	}
	c.Log = func(context.Context) (string, error) { return "", errors.New("no log") }
	if got := c.LastRejection(ended, start); got != "" {
		t.Errorf("without a log there is %q", got)
	}
}

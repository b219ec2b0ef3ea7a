package process

import (
	"regexp"
	"strings"
	"time"
)

// header starts every line of a Kubernetes program: Lmmdd hh:mm:ss.uuuuuu
// (k8s.io/klog/v2, in the file's head). It has no year.
var header = regexp.MustCompile(`^[IWEF](\d{4} \d{2}:\d{2}:\d{2}\.\d{6}) `)

// stamped puts the time before each line, as it is in a container's log. Lines
// without a header have the time of the one before.
func stamped(log string, now time.Time) string {
	var out strings.Builder
	last := ""
	for line := range strings.Lines(log) {
		if match := header.FindStringSubmatch(line); match != nil {
			if at, err := time.Parse("20060102 15:04:05.000000", now.UTC().Format("2006")+match[1]); err == nil {
				if at.After(now.Add(24 * time.Hour)) { // written before New Year
					at = at.AddDate(-1, 0, 0)
				}
				last = at.Format(time.RFC3339Nano)
			}
		}
		if last != "" {
			out.WriteString(last + " " + line)
		}
	}
	return out.String()
}

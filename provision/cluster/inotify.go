package cluster

import (
	"os"
	"strconv"
	"strings"
)

// LowInotify says whether the kernel's limit of inotify instances is too low for
// more than a few nodes: each needs some thirty of root's, and what gets none,
// often kube-proxy, never works
// (https://kind.sigs.k8s.io/docs/user/known-issues/#pod-errors-due-to-too-many-open-files).
func LowInotify() (limit int, low bool) {
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_user_instances")
	if err != nil {
		return 0, false // not Linux
	}
	limit, err = strconv.Atoi(strings.TrimSpace(string(text)))
	return limit, err == nil && limit < 512
}

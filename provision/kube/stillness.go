package kube

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// stillLimit is how long a container may run without becoming ready while
// nothing about it changes: neither its status nor the end of its log.
const stillLimit = time.Minute

// stillness remembers since when containers have not changed.
type stillness map[string]sighting

type sighting struct {
	status, log string
	since       time.Time
}

// stuck says whether nothing about a container has changed for stillLimit. log is
// asked only when its status has not.
func (s stillness) stuck(container, status string, now time.Time, log func() string) bool {
	seen, known := s[container]
	switch {
	case known && seen.status == status && now.Sub(seen.since) < stillLimit:
		return false
	case known && seen.status == status && seen.log == log():
		return true
	}
	s[container] = sighting{status, log(), now}
	return false
}

// notReady finds a container of a pod that runs, is not ready, and is stuck; nil
// where there is none.
func (c *Client) notReady(ctx context.Context, s stillness, pod corev1.Pod) error {
	for _, status := range pod.Status.ContainerStatuses {
		if status.State.Running == nil || status.Ready {
			continue
		}
		log := func() string { return c.lastLog(ctx, pod.Namespace, pod.Name, status.Name, false) }
		if s.stuck(string(pod.UID)+"/"+status.Name, status.String(), time.Now(), log) {
			return fmt.Errorf("the container %s of pod %s runs, has not become ready, and nothing about it changed for %s", status.Name, pod.Name, stillLimit)
		}
	}
	return nil
}

package kube

import (
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// stillLimit is how long a container may run without becoming ready while
// nothing about it changes: neither its status nor the end of its log.
const stillLimit = time.Minute

// stillness remembers since when containers have not changed.
type stillness map[string]sighting

type sighting struct {
	status, log string
	restarts    int32
	since       time.Time
}

// stuck says whether nothing about a container has changed for as long as limit.
// log is asked only when its status has not; one that cannot be read proves
// nothing.
func (s stillness) stuck(container, status string, limit time.Duration, now time.Time, log func() string) bool {
	seen, known := s[container]
	if known && seen.status == status && now.Sub(seen.since) < limit {
		return false
	}
	said := log()
	if known && seen.status == status && seen.log == said && said != unreadable {
		return true
	}
	s[container] = sighting{status: status, log: said, since: now}
	return false
}

// unreadable stands for a log that could not be read.
const unreadable = "\x00"

// notReady finds a container of a pod that runs, is not ready, and is stuck; nil
// where there is none.
func (c *Client) notReady(ctx context.Context, s stillness, pod corev1.Pod) error {
	for _, status := range pod.Status.ContainerStatuses {
		if status.State.Running == nil || status.Ready {
			continue
		}
		limit := stillLimit
		for _, container := range pod.Spec.Containers {
			if container.Name == status.Name {
				limit += startDelay(container)
			}
		}
		log := func() string { return c.stampedLog(ctx, pod.Namespace, pod.Name, status.Name) }
		if s.stuck(string(pod.UID)+"/"+status.Name, status.String(), limit, time.Now(), log) {
			return fmt.Errorf("the container %s of pod %s runs, has not become ready, and nothing about it changed for %s", status.Name, pod.Name, limit)
		}
	}
	return nil
}

// crashLimit is how long a container may end again and again: what it waits for
// may still be on its way.
const crashLimit = 90 * time.Second

// crashing says whether a container has ended by itself again and again for as
// long as crashLimit; times is how often in that time.
func (s stillness) crashing(container string, restarts int32, now time.Time) (times int32, is bool) {
	seen, known := s[container+" ended"]
	if !known {
		s[container+" ended"] = sighting{restarts: restarts, since: now}
		return 0, false
	}
	times = restarts - seen.restarts
	return times, times >= 3 && now.Sub(seen.since) >= crashLimit
}

// crashLooping finds a container of a pod that does not stay; nil where there is
// none.
func crashLooping(s stillness, pod corev1.Pod) error {
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if times, is := s.crashing(string(pod.UID)+"/"+status.Name, status.RestartCount, time.Now()); is && !status.Ready {
			return fmt.Errorf("the container %s of pod %s ended by itself %d times in %s", status.Name, pod.Name, times, crashLimit)
		}
	}
	return nil
}

// startDelay is how long a container's probes let it be silent.
func startDelay(container corev1.Container) time.Duration {
	seconds := int32(0)
	if p := container.ReadinessProbe; p != nil {
		seconds += p.InitialDelaySeconds
	}
	if p := container.StartupProbe; p != nil {
		seconds += p.InitialDelaySeconds + max(p.PeriodSeconds, 1)*max(p.FailureThreshold, 1)
	}
	return time.Duration(seconds) * time.Second
}

// stampedLog is the last line of a container's log, with its time.
func (c *Client) stampedLog(ctx context.Context, namespace, pod, container string) string {
	log, err := c.Core.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{Container: container, Timestamps: true, TailLines: new(int64(1))}).DoRaw(ctx)
	if err != nil {
		return unreadable
	}
	return string(log)
}

// newest are the pods of a Deployment's present version, as far as they are not
// being deleted. The pod template's hash is the same for all of one version.
func newest(d *appsv1.Deployment, pods []corev1.Pod) []corev1.Pod {
	if d.Status.ObservedGeneration < d.Generation || d.Status.UpdatedReplicas == 0 {
		return nil
	}
	pods = slices.DeleteFunc(slices.Clone(pods), func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
	if len(pods) == 0 {
		return nil
	}
	last := slices.MaxFunc(pods, func(a, b corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	hash := last.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
	return slices.DeleteFunc(pods, func(p corev1.Pod) bool { return p.Labels[appsv1.DefaultDeploymentUniqueLabelKey] != hash })
}

package kube

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestStuckIsWhatDoesNotChange(t *testing.T) {
	s, start := stillness{}, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, step := range []struct {
		after       time.Duration
		status, log string
		want        bool
	}{
		{0, "started", "", false},
		{59 * time.Second, "started", "", false},
		{61 * time.Second, "started", "migrating", false}, // its log went on: a minute from here
		{100 * time.Second, "started", "migrating", false},
		{110 * time.Second, "restarted", "migrating", false}, // and so did its status
		{169 * time.Second, "restarted", "migrating", false},
		{170 * time.Second, "restarted", unreadable, false}, // which proves nothing
		{230 * time.Second, "restarted", "migrating", false},
		{290 * time.Second, "restarted", "migrating", true},
	} {
		if got := s.stuck("c", step.status, time.Minute, start.Add(step.after), func() string { return step.log }); got != step.want {
			t.Errorf("after %s: %v", step.after, got)
		}
	}
	if s.stuck("other", "started", time.Minute, start.Add(time.Hour), func() string { return "" }) {
		t.Error("one that was never seen is stuck")
	}
}

func TestCrashing(t *testing.T) {
	s, start := stillness{}, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, step := range []struct {
		after    time.Duration
		restarts int32
		times    int32
		want     bool
	}{
		{0, 2, 0, false},
		{30 * time.Second, 9, 7, false}, // what it needs may come
		{95 * time.Second, 4, 2, false}, // it ended twice, long ago
		{100 * time.Second, 30, 28, true},
	} {
		if times, got := s.crashing("c", step.restarts, start.Add(step.after)); got != step.want || times != step.times {
			t.Errorf("after %s: %d times, %v", step.after, times, got)
		}
	}
}

func TestNewestPods(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	pod := func(name, hash string, age time.Duration, deleted bool) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pod-template-hash": hash}, CreationTimestamp: metav1.NewTime(now.Add(-age))}}
		if deleted {
			p.DeletionTimestamp = new(metav1.NewTime(now))
		}
		return p
	}
	pods := []corev1.Pod{pod("old", "a", time.Hour, false), pod("new", "b", time.Minute, false), pod("newer", "b", time.Second, false), pod("going", "c", 0, true)}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Generation: 2}, Status: appsv1.DeploymentStatus{ObservedGeneration: 2, UpdatedReplicas: 2}}
	var names []string
	for _, p := range newest(d, pods) {
		names = append(names, p.Name)
	}
	if got := strings.Join(names, " "); got != "new newer" {
		t.Errorf("newest: %s", got)
	}
	if d.Status.ObservedGeneration = 1; len(newest(d, pods)) > 0 {
		t.Error("before the change was seen, there are no new pods")
	}
}

package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// Awaited are those among objects, Deployments apart, that become what they shall
// be after they were applied: what has pods, and objects of kinds that Kubernetes
// itself does not have, whose conditions say it.
func Awaited(objects []Object) []Object {
	return slices.DeleteFunc(slices.Clone(objects), func(o Object) bool {
		api, _ := o["apiVersion"].(string)
		group, _, hasGroup := strings.Cut(api, "/")
		switch o["kind"] {
		case "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "Pod":
			return false
		}
		return !hasGroup || !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io")
	})
}

// NameOf is an object for people: "Job demo/migrate".
func NameOf(o Object) string {
	u := unstructured.Unstructured{Object: o}
	if u.GetNamespace() == "" {
		return u.GetKind() + " " + u.GetName()
	}
	return u.GetKind() + " " + u.GetNamespace() + "/" + u.GetName()
}

// WaitReady waits until an object is what it shall be. What its status says is
// final, or pods that never come to run, end the wait at once.
func (c *Client) WaitReady(ctx context.Context, o Object) error {
	var final error
	still := stillness{}
	err := Poll(ctx, NameOf(o), func(ctx context.Context) error {
		live, err := c.live(ctx, o)
		if apierrors.IsNotFound(err) && deletesItself(o) {
			return nil
		}
		if err != nil {
			return err
		}
		last, err := readiness(live)
		if last {
			final = err
			return nil
		}
		if err != nil {
			if final = c.podsNeverReady(ctx, live, still); final != nil {
				return nil
			}
		}
		return err
	})
	if final != nil {
		err = fmt.Errorf("gave up while waiting for %s: %w", NameOf(o), final)
	}
	return c.withPods(ctx, o, err)
}

// Ready says whether an object is what it shall be: nil, or why not.
func (c *Client) Ready(ctx context.Context, o Object) error {
	live, err := c.live(ctx, o)
	if apierrors.IsNotFound(err) && deletesItself(o) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = readiness(live)
	return c.withPods(ctx, o, err)
}

// deletesItself says whether an object is gone when it is done.
func deletesItself(o Object) bool {
	_, limited, _ := unstructured.NestedFieldNoCopy(o, "spec", "ttlSecondsAfterFinished")
	return o["kind"] == "Job" && limited
}

func (c *Client) live(ctx context.Context, o Object) (*unstructured.Unstructured, error) {
	u := &unstructured.Unstructured{Object: o}
	resource, err := c.resource(u)
	if err != nil {
		return nil, err
	}
	return resource.Get(ctx, u.GetName(), metav1.GetOptions{})
}

// readiness reads an object's status; final says that waiting does not help. A
// Job must have completed, everything else be current (sigs.k8s.io/cli-utils,
// pkg/kstatus).
func readiness(o *unstructured.Unstructured) (final bool, why error) {
	if o.GetKind() == "Job" {
		return jobReadiness(o)
	}
	result, err := status.Compute(o)
	if err != nil {
		return false, err
	}
	switch result.Status {
	case status.CurrentStatus:
		return false, nil
	case status.FailedStatus:
		return true, errors.New(result.Message)
	}
	return false, errors.New(result.Message)
}

func jobReadiness(o *unstructured.Unstructured) (final bool, why error) {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, condition := range conditions {
		c, _ := condition.(map[string]any)
		if c["status"] != "True" {
			continue
		}
		switch c["type"] {
		case "Complete", "Suspended":
			return false, nil
		case "Failed":
			return true, fmt.Errorf("it failed: %v", c["message"])
		}
	}
	succeeded, _, _ := unstructured.NestedInt64(o.Object, "status", "succeeded")
	return false, fmt.Errorf("it has not completed, %d of its pods have succeeded", succeeded)
}

// podsOf are the pods of an object with a selector; none where it has none.
func (c *Client) podsOf(ctx context.Context, o *unstructured.Unstructured) (pods []corev1.Pod, selector string) {
	labels, _, _ := unstructured.NestedStringMap(o.Object, "spec", "selector", "matchLabels")
	if len(labels) == 0 {
		return nil, ""
	}
	selector = metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: labels})
	list, err := c.Core.CoreV1().Pods(o.GetNamespace()).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, selector
	}
	return list.Items, selector
}

func (c *Client) podsNeverReady(ctx context.Context, o *unstructured.Unstructured, still stillness) error {
	pods, _ := c.podsOf(ctx, o)
	for _, pod := range pods {
		if err := errors.Join(neverStarting(pod), c.notReady(ctx, still, pod), crashLooping(still, pod)); err != nil {
			return err
		}
	}
	return nil
}

// withPods adds what the pods of an object say to why it is not ready.
func (c *Client) withPods(ctx context.Context, o Object, why error) error {
	if why == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	live, err := c.live(ctx, o)
	if err != nil {
		return why
	}
	if _, selector := c.podsOf(ctx, live); selector != "" {
		return fmt.Errorf("%w%s", why, c.explainPods(ctx, live.GetNamespace(), selector))
	}
	return why
}

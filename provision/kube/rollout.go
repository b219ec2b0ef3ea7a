package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/devenv-oidc/devenv/provision/progress"
)

// pollInterval is short: an answer costs a millisecond.
const pollInterval = 200 * time.Millisecond

// noteAfter is how long a wait is silent, and then how often it says what it
// waits for.
var noteAfter = 15 * time.Second

// Poll asks until there is no error or the context ends; then its error says
// what was waited for and gives the last reason.
func Poll(ctx context.Context, what string, ask func(context.Context) error) error {
	return PollEvery(ctx, pollInterval, what, ask)
}

// PollEvery is Poll at another interval than the usual one.
func PollEvery(ctx context.Context, interval time.Duration, what string, ask func(context.Context) error) error {
	var last error
	next := time.Now().Add(noteAfter)
	err := wait.PollUntilContextCancel(ctx, interval, true, func(ctx context.Context) (bool, error) {
		err := ask(ctx)
		if err == nil || ctx.Err() == nil || last == nil { // that the context ended is no reason
			last = err
		}
		if now := time.Now(); err != nil && now.After(next) {
			progress.StillWaiting(ctx, what, last)
			next = now.Add(noteAfter)
		}
		return err == nil, nil
	})
	if err == nil {
		return nil
	}
	if last == nil || strings.Contains(last.Error(), context.Cause(ctx).Error()) {
		return fmt.Errorf("%w while waiting for %s", context.Cause(ctx), what)
	}
	return fmt.Errorf("%w while waiting for %s: %w", context.Cause(ctx), what, last)
}

// WaitAvailable waits until a Deployment runs as specified. When the context
// ends first, the error tells what its pods say.
func (c *Client) WaitAvailable(ctx context.Context, namespace, name string) error {
	var deployment *appsv1.Deployment
	var final error
	still := stillness{}
	err := Poll(ctx, fmt.Sprintf("Deployment %s/%s", namespace, name), func(ctx context.Context) error {
		have, err := c.Core.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		deployment = have
		if err = rolledOut(have); err == nil {
			return nil
		}
		if final = c.neverReady(ctx, have, still); final != nil {
			return nil
		}
		return err
	})
	if final != nil {
		err = fmt.Errorf("gave up while waiting for Deployment %s/%s: %w", namespace, name, final)
	}
	if err == nil || deployment == nil || deployment.Spec.Selector == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return fmt.Errorf("%w%s", err, c.explainPods(ctx, namespace, metav1.FormatLabelSelector(deployment.Spec.Selector)))
}

// Deployments are the names of those among objects.
func Deployments(objects []Object) []types.NamespacedName {
	var list []types.NamespacedName
	for _, o := range objects {
		if o["kind"] != "Deployment" {
			continue
		}
		u := unstructured.Unstructured{Object: o}
		list = append(list, types.NamespacedName{Namespace: cmp.Or(u.GetNamespace(), metav1.NamespaceDefault), Name: u.GetName()})
	}
	return list
}

// EnsureScaled gives a Deployment that was scaled to 0 its pods again: Helm takes
// its release for unchanged, and nobody else would.
func (c *Client) EnsureScaled(ctx context.Context, namespace, deployment string, replicas int32) (changed bool, err error) {
	scale, err := c.Core.AppsV1().Deployments(namespace).GetScale(ctx, deployment, metav1.GetOptions{})
	if err == nil && scale.Spec.Replicas == 0 {
		scale.Spec.Replicas, changed = replicas, true
		scale.ResourceVersion = "" // whoever else is just writing, as the Deployment's controller is
		_, err = c.Core.AppsV1().Deployments(namespace).UpdateScale(ctx, deployment, scale, metav1.UpdateOptions{FieldManager: FieldManager})
	}
	if err != nil {
		return false, fmt.Errorf("could not scale the Deployment %s/%s: %w", namespace, deployment, err)
	}
	return changed, nil
}

// AnnotatePods sets an annotation of a Deployment's pods, which replaces the
// pods if the value is another.
func (c *Client) AnnotatePods(ctx context.Context, namespace, deployment, annotation, value string) (changed bool, err error) {
	deployments := c.Core.AppsV1().Deployments(namespace)
	have, err := deployments.Get(ctx, deployment, metav1.GetOptions{})
	if err == nil && have.Spec.Template.Annotations[annotation] == value {
		return false, nil
	}
	patch, marshalErr := json.Marshal(Object{"spec": Object{"template": Object{"metadata": Object{"annotations": Object{annotation: value}}}}})
	if err := errors.Join(err, marshalErr); err != nil {
		return false, fmt.Errorf("could not read the Deployment %s/%s: %w", namespace, deployment, err)
	}
	if _, err := deployments.Patch(ctx, deployment, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: FieldManager}); err != nil {
		return false, fmt.Errorf("could not change the Deployment %s/%s: %w", namespace, deployment, err)
	}
	return true, nil
}

// WaitAvailableOf waits for every Deployment of a namespace that has an
// annotation with that value.
func (c *Client) WaitAvailableOf(ctx context.Context, namespace, annotation, value string) error {
	list, err := c.Core.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("could not list the Deployments in namespace %s: %w", namespace, err)
	}
	for _, d := range list.Items {
		if d.Annotations[annotation] != value {
			continue
		}
		if err := c.WaitAvailable(ctx, namespace, d.Name); err != nil {
			return err
		}
	}
	return nil
}

// Available says whether a Deployment runs as specified: nil, or what its pods
// say.
func (c *Client) Available(ctx context.Context, namespace, name string) error {
	d, err := c.Core.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if err = rolledOut(d); err == nil || d.Spec.Selector == nil {
		return err
	}
	return fmt.Errorf("%w%s", err, c.explainPods(ctx, namespace, metav1.FormatLabelSelector(d.Spec.Selector)))
}

func rolledOut(d *appsv1.Deployment) error {
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	s := d.Status
	if s.ObservedGeneration < d.Generation || s.UpdatedReplicas < want || s.AvailableReplicas < want || s.Replicas > s.UpdatedReplicas {
		return fmt.Errorf("%d of %d pods are available", min(s.AvailableReplicas, s.UpdatedReplicas), want)
	}
	return nil
}

// neverReady is the reason by which a pod of a Deployment does not come to run,
// nil where there is none yet. Kubelet tries a pull twice before it backs off.
func (c *Client) neverReady(ctx context.Context, d *appsv1.Deployment, still stillness) error {
	pods, err := c.Core.CoreV1().Pods(d.Namespace).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(d.Spec.Selector)})
	if err != nil {
		return nil
	}
	for _, pod := range pods.Items {
		if !slices.Equal(images(pod.Spec), images(d.Spec.Template.Spec)) {
			continue // of an earlier version, and about to be replaced
		}
		if err := neverStarting(pod); err != nil {
			return err
		}
	}
	for _, pod := range newest(d, pods.Items) {
		if err := errors.Join(c.notReady(ctx, still, pod), crashLooping(still, pod)); err != nil {
			return err
		}
	}
	return nil
}

// neverStarting is an image that a pod does not get; nil where there is none.
func neverStarting(pod corev1.Pod) error {
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if w := s.State.Waiting; w != nil && slices.Contains(neverStarts, w.Reason) {
			return fmt.Errorf("the image %s cannot be pulled: %s", s.Image, w.Reason)
		}
	}
	return nil
}

func images(s corev1.PodSpec) []string {
	var list []string
	for _, c := range append(slices.Clone(s.InitContainers), s.Containers...) {
		list = append(list, c.Image)
	}
	return list
}

// neverStarts are the reasons of kubelet that do not pass by waiting
// (k8s.io/kubernetes, pkg/kubelet/images/types.go).
var neverStarts = []string{"ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}

// explainPods tells what keeps pods from running: their containers' states and
// last lines, and their events. Where one container is not ready, the reason may
// be in the log of another, which a gateway waits for.
func (c *Client) explainPods(ctx context.Context, namespace, selector string) string {
	pods, err := c.Core.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil || len(pods.Items) == 0 {
		return "\n  it has no pods"
	}
	var b strings.Builder
	for _, pod := range pods.Items {
		fmt.Fprintf(&b, "\n  pod %s is %s", pod.Name, pod.Status.Phase)
		stuck := slices.ContainsFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.RestartCount > 0 || !s.Ready })
		for _, s := range pod.Status.ContainerStatuses {
			switch {
			case s.State.Waiting != nil:
				fmt.Fprintf(&b, "\n    container %s waits: %s %s", s.Name, s.State.Waiting.Reason, s.State.Waiting.Message)
			case s.State.Terminated != nil:
				fmt.Fprintf(&b, "\n    container %s ended: %s, exit code %d", s.Name, s.State.Terminated.Reason, s.State.Terminated.ExitCode)
			case !s.Ready:
				fmt.Fprintf(&b, "\n    container %s runs and is not ready", s.Name)
			case stuck:
				fmt.Fprintf(&b, "\n    container %s runs", s.Name)
			}
			if stuck {
				b.WriteString(c.lastLog(ctx, namespace, pod.Name, s.Name, s.RestartCount > 0))
			}
		}
		b.WriteString(c.lastEvents(ctx, namespace, pod.Name))
	}
	return b.String()
}

// LogOf is the end of the logs of the pods that a selector finds; what cannot be
// read is left out.
func (c *Client) LogOf(ctx context.Context, namespace, selector string, lines int64) string {
	pods, err := c.Core.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return ""
	}
	text := ""
	for _, pod := range pods.Items {
		log, err := c.Core.CoreV1().Pods(namespace).GetLogs(pod.Name, &corev1.PodLogOptions{TailLines: &lines}).DoRaw(ctx)
		if err == nil {
			text += string(log)
		}
	}
	return text
}

// lastLog is the end of a container's log, or of that of the one before it.
func (c *Client) lastLog(ctx context.Context, namespace, pod, container string, previous bool) string {
	lines := int64(5)
	log, err := c.Core.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{Container: container, Previous: previous, TailLines: &lines}).DoRaw(ctx)
	if err != nil {
		return ""
	}
	return "\n      " + strings.ReplaceAll(strings.TrimSpace(string(log)), "\n", "\n      ")
}

func (c *Client) lastEvents(ctx context.Context, namespace, pod string) string {
	events, err := c.Core.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + pod + ",type=Warning"})
	if err != nil {
		return ""
	}
	sort.Slice(events.Items, func(i, j int) bool {
		return events.Items[i].LastTimestamp.Before(&events.Items[j].LastTimestamp)
	})
	text := ""
	for _, e := range events.Items[max(0, len(events.Items)-3):] {
		text += fmt.Sprintf("\n    event: %s: %s", e.Reason, strings.TrimSpace(e.Message))
	}
	return text
}

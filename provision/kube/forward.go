package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

// readyLimit is how long a Deployment that was available can be without a ready
// pod: its node or its API server has just restarted.
const readyLimit = 30 * time.Second

// Forward opens a port on the host's loopback that leads to a port of a ready
// pod, until stop is called.
func (c *Client) Forward(ctx context.Context, namespace, selector string, port int) (address string, stop func(), err error) {
	limited, cancel := context.WithTimeoutCause(ctx, readyLimit, fmt.Errorf("the limit of %s was reached", readyLimit))
	defer cancel()
	err = Poll(limited, "a pod to forward to", func(ctx context.Context) error {
		pods, err := c.Core.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return err
		}
		for _, pod := range pods.Items {
			if pod.DeletionTimestamp == nil && ready(&pod) {
				address, stop, err = c.forwardTo(ctx, &pod, port)
				return err
			}
		}
		return fmt.Errorf("no pod %s in namespace %s is ready", selector, namespace)
	})
	return address, stop, err
}

func ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func (c *Client) forwardTo(ctx context.Context, pod *corev1.Pod, port int) (string, func(), error) {
	fail := func(err error) (string, func(), error) {
		return "", nil, fmt.Errorf("could not forward a port to pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	transport, upgrader, err := spdy.RoundTripperFor(c.Config)
	if err != nil {
		return fail(err)
	}
	target := c.Core.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("portforward").URL()
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, target)
	stopped, open := make(chan struct{}), make(chan struct{})
	forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", port)}, stopped, open, io.Discard, io.Discard)
	if err != nil {
		return fail(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- forwarder.ForwardPorts() }()
	stop := func() {
		close(stopped)
		<-ended
	}
	select {
	case <-open:
		ports, err := forwarder.GetPorts()
		if err != nil {
			stop()
			return fail(err)
		}
		return fmt.Sprintf("127.0.0.1:%d", ports[0].Local), stop, nil
	case err := <-ended:
		return fail(errors.Join(err, errors.New("the stream ended at once")))
	case <-ctx.Done():
		stop()
		return fail(ctx.Err())
	}
}

package check

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devenv-oidc/devenv/provision/kube"
)

// podLimit is how long the pod may take.
const podLimit = time.Minute

// IssuerFromPod proves that a plain pod reaches the issuer under its own URL
// and verifies its certificate. The pod runs the node's kubectl, which sends a
// GET to any server, in an image that is there.
func IssuerFromPod(ctx context.Context, admin *kube.Client, namespace, image, issuer, caPEM string) Result {
	result := Result{Group: "issuer", Name: "the issuer answers and verifies from a pod"}
	ctx, cancel := context.WithTimeout(ctx, podLimit)
	defer cancel()
	document, err := fetchFromPod(ctx, admin, namespace, image, issuer, caPEM)
	if err != nil {
		result.Detail = err.Error()
		return result
	}
	var discovery struct {
		Issuer string `json:"issuer"`
	}
	if err := json.Unmarshal([]byte(document), &discovery); err != nil {
		result.Detail = fmt.Sprintf("the pod printed no discovery document: %s", strings.TrimSpace(document))
		return result
	}
	result.OK, result.Detail = discovery.Issuer == issuer, discovery.Issuer
	return result
}

func fetchFromPod(ctx context.Context, admin *kube.Client, namespace, image, issuer, caPEM string) (string, error) {
	pods := admin.Core.CoreV1().Pods(namespace)
	file := corev1.HostPathFile
	pod, err := pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: "devenv-check-",
			Labels:       map[string]string{"app.kubernetes.io/managed-by": kube.FieldManager},
			Annotations:  map[string]string{"devenv.dev/ca": caPEM},
		},
		Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever,
			AutomountServiceAccountToken:  new(false),
			TerminationGracePeriodSeconds: new(int64(0)),
			Containers: []corev1.Container{{
				Name: "fetch", Image: image, ImagePullPolicy: corev1.PullIfNotPresent,
				Command: []string{
					"/devenv/kubectl", "get", "--raw=/.well-known/openid-configuration",
					"--server=" + issuer, "--certificate-authority=/ca/ca.crt", "--request-timeout=10s",
					"--token=none", // or kubectl asks for a user name
				},
				Env: []corev1.EnvVar{{Name: "HOME", Value: "/tmp"}},
				VolumeMounts: []corev1.VolumeMount{
					{Name: "kubectl", MountPath: "/devenv/kubectl", ReadOnly: true},
					{Name: "ca", MountPath: "/ca", ReadOnly: true},
				},
			}},
			Volumes: []corev1.Volume{
				{Name: "kubectl", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/usr/bin/kubectl", Type: &file}}},
				{Name: "ca", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{{
					Path: "ca.crt", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.annotations['devenv.dev/ca']"},
				}}}}},
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("could not start a pod: %w", err)
	}
	defer func() { _ = pods.Delete(context.WithoutCancel(ctx), pod.Name, metav1.DeleteOptions{}) }()

	var phase corev1.PodPhase
	err = kube.Poll(ctx, "pod "+namespace+"/"+pod.Name, func(ctx context.Context) error {
		p, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if phase = p.Status.Phase; phase == corev1.PodSucceeded || phase == corev1.PodFailed {
			return nil
		}
		return fmt.Errorf("it is %s", phase)
	})
	if err != nil {
		return "", err
	}
	log, err := pods.GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(ctx)
	if err != nil {
		return "", fmt.Errorf("could not read the pod's output: %w", err)
	}
	if phase == corev1.PodFailed {
		return "", fmt.Errorf("the pod failed: %s", strings.TrimSpace(string(log)))
	}
	return string(log), nil
}

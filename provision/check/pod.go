package check

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
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
	document, failed, err := fetchFromPod(ctx, admin, namespace, image, Request{Server: issuer, Path: "/.well-known/openid-configuration", CA: caPEM})
	if err == nil && failed {
		err = fmt.Errorf("the pod failed: %s", strings.TrimSpace(document))
	}
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

// Request is a GET that a pod sends.
type Request struct {
	Server string // https://host:port
	Path   string // with its query
	CA     string // that the server's certificate must verify with, PEM
	Token  string // to send; empty for none
}

// answered is what kubectl says of an answer when it is asked to be talkative.
var answered = regexp.MustCompile(`status="(\d+) `)

// Get sends a request from a pod and returns the status of the answer. An error
// says why there was none.
func Get(ctx context.Context, admin *kube.Client, namespace, image string, r Request) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, podLimit)
	defer cancel()
	log, _, err := fetchFromPod(ctx, admin, namespace, image, r, "--v=6")
	if err != nil {
		return 0, err
	}
	found := answered.FindStringSubmatch(log)
	if found == nil {
		return 0, fmt.Errorf("the pod got no answer: %s", strings.TrimSpace(log))
	}
	return strconv.Atoi(found[1])
}

// fetchFromPod returns what kubectl said in a pod, and whether it failed.
func fetchFromPod(ctx context.Context, admin *kube.Client, namespace, image string, r Request, flags ...string) (log string, failed bool, err error) {
	pods := admin.Core.CoreV1().Pods(namespace)
	token, deleteToken, err := tokenVariable(ctx, admin, namespace, r.Token)
	if err != nil {
		return "", false, err
	}
	defer deleteToken()
	file := corev1.HostPathFile
	pod, err := pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: "devenv-check-",
			Labels:       map[string]string{"app.kubernetes.io/managed-by": kube.FieldManager},
			Annotations:  map[string]string{"devenv.dev/ca": r.CA},
		},
		Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever,
			AutomountServiceAccountToken:  new(false),
			TerminationGracePeriodSeconds: new(int64(0)),
			Containers: []corev1.Container{{
				Name: "fetch", Image: image, ImagePullPolicy: corev1.PullIfNotPresent,
				Command: append([]string{
					"/devenv/kubectl", "get", "--raw=" + r.Path,
					"--server=" + r.Server, "--certificate-authority=/ca/ca.crt", "--request-timeout=10s",
					"--token=$(TOKEN)",
				}, flags...),
				Env: []corev1.EnvVar{{Name: "HOME", Value: "/tmp"}, token},
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
		return "", false, fmt.Errorf("could not start a pod: %w", err)
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
		return "", false, err
	}
	text, err := pods.GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(ctx)
	if err != nil {
		return "", false, fmt.Errorf("could not read the pod's output: %w", err)
	}
	return string(text), phase == corev1.PodFailed, nil
}

// tokenVariable keeps a token out of the pod's own description, where more
// people may read it.
func tokenVariable(ctx context.Context, admin *kube.Client, namespace, token string) (variable corev1.EnvVar, remove func(), err error) {
	if token == "" {
		return corev1.EnvVar{Name: "TOKEN", Value: "none"}, func() {}, nil // without any, kubectl asks for a user name
	}
	secrets := admin.Core.CoreV1().Secrets(namespace)
	secret, err := secrets.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "devenv-check-", Labels: map[string]string{"app.kubernetes.io/managed-by": kube.FieldManager}},
		StringData: map[string]string{"token": token},
	}, metav1.CreateOptions{})
	if err != nil {
		return corev1.EnvVar{}, nil, fmt.Errorf("could not keep a token for a pod: %w", err)
	}
	variable = corev1.EnvVar{Name: "TOKEN", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: secret.Name}, Key: "token",
	}}}
	return variable, func() { _ = secrets.Delete(context.WithoutCancel(ctx), secret.Name, metav1.DeleteOptions{}) }, nil
}

package check

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/devenv-oidc/devenv/provision/kube"
)

// podLimit is how long the pod takes at most, and podInterval how often it is
// looked at: it takes a second. But a scheduler whose API server was killed looks
// for it in ever longer intervals, of up to a minute (client-go, tools/cache).
const podLimit, podInterval = 110 * time.Second, 50 * time.Millisecond

// IssuerFromPod proves that a plain pod reaches the issuer under its own URL
// and verifies its certificate. The pod runs the node's kubectl, which sends a
// GET to any server, in an image that every node has.
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

// answered is what kubectl says of an answer when it is asked to be talkative,
// from 1.33 on and before.
var answered = regexp.MustCompile(`(?:status="|GET https://\S+ )(\d{3}) `)

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
	annotations, config, remove, err := kubeconfigVolume(ctx, admin, namespace, r)
	if err != nil {
		return "", false, err
	}
	defer remove()
	file := corev1.HostPathFile
	pod, err := pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: podPrefix,
			Labels:       map[string]string{"app.kubernetes.io/managed-by": kube.FieldManager},
			Annotations:  annotations,
		},
		Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever,
			AutomountServiceAccountToken:  new(false),
			TerminationGracePeriodSeconds: new(int64(0)),
			Containers: []corev1.Container{{
				Name: "fetch", Image: image, ImagePullPolicy: corev1.PullIfNotPresent,
				Command: append([]string{"/devenv/kubectl", "get", "--raw=" + r.Path, "--kubeconfig=/config/kubeconfig", "--request-timeout=10s"}, flags...),
				Env:     []corev1.EnvVar{{Name: "HOME", Value: "/tmp"}},
				VolumeMounts: []corev1.VolumeMount{
					{Name: "kubectl", MountPath: "/devenv/kubectl", ReadOnly: true},
					{Name: "config", MountPath: "/config", ReadOnly: true},
				},
			}},
			Volumes: []corev1.Volume{
				{Name: "kubectl", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/usr/bin/kubectl", Type: &file}}},
				{Name: "config", VolumeSource: config},
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", false, fmt.Errorf("could not start a pod: %w", err)
	}
	defer func() { _ = pods.Delete(context.WithoutCancel(ctx), pod.Name, metav1.DeleteOptions{}) }()

	err = kube.PollEvery(ctx, podInterval, "pod "+namespace+"/"+pod.Name, func(ctx context.Context) error {
		p, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		var ended bool
		if failed, ended = outcome(p); !ended {
			return fmt.Errorf("it is %s", p.Status.Phase)
		}
		return nil
	})
	if err != nil {
		return "", false, err
	}
	text, err := pods.GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(ctx)
	if err != nil {
		return "", false, fmt.Errorf("could not read the pod's output: %w", err)
	}
	return string(text), failed, nil
}

// outcome is how a pod of one container ended. The container says it a second
// before the pod's phase does.
func outcome(p *corev1.Pod) (failed, ended bool) {
	for _, c := range p.Status.ContainerStatuses {
		if c.State.Terminated != nil {
			return c.State.Terminated.ExitCode != 0, true
		}
	}
	return p.Status.Phase == corev1.PodFailed, p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// kubeconfigAnnotation is where a pod has a kubeconfig without a token.
const kubeconfigAnnotation = "devenv.dev/kubeconfig"

// kubeconfigVolume has the kubeconfig for a request. A token is kept out of the
// pod's own description and of its process's arguments, where more people may read
// it: it is in a Secret, which kubelet fetches first. Without one, the pod has the
// kubeconfig itself.
func kubeconfigVolume(ctx context.Context, admin *kube.Client, namespace string, r Request) (annotations map[string]string, volume corev1.VolumeSource, remove func(), err error) {
	text, err := clientcmd.Write(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"c": {Server: r.Server, CertificateAuthorityData: []byte(r.CA)}},
		// without any token, kubectl asks for a user name
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"u": {Token: cmp.Or(r.Token, "none")}},
		Contexts:       map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "u"}},
		CurrentContext: "x",
	})
	if err != nil {
		return nil, volume, nil, err
	}
	if r.Token == "" {
		volume.DownwardAPI = &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{{
			Path: "kubeconfig", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.annotations['" + kubeconfigAnnotation + "']"},
		}}}
		return map[string]string{kubeconfigAnnotation: string(text)}, volume, func() {}, nil
	}
	secrets := admin.Core.CoreV1().Secrets(namespace)
	secret, err := secrets.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{GenerateName: podPrefix, Labels: map[string]string{"app.kubernetes.io/managed-by": kube.FieldManager}},
		Data:       map[string][]byte{"kubeconfig": text},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, volume, nil, fmt.Errorf("could not keep a kubeconfig for a pod: %w", err)
	}
	volume.Secret = &corev1.SecretVolumeSource{SecretName: secret.Name}
	return nil, volume, func() { _ = secrets.Delete(context.WithoutCancel(ctx), secret.Name, metav1.DeleteOptions{}) }, nil
}

package controller

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"

	"github.com/devenv-oidc/devenv/provision/devenvtest"

	"example.com/notes/login"
)

func TestController(t *testing.T) {
	env := devenvtest.Up(t, devenvtest.Profile("default"), devenvtest.Runtime("process")) // that of the other package
	logins, err := login.New(t.Context(), env.HTTPClient(t), env.Issuer, "kubernetes")
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(env.Config(t, "admin@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = Run(t.Context(), client, logins) }()

	namespace := env.Namespace(t)
	token := env.Token(t, "viewer@example.com")
	for name, test := range map[string]struct{ token, email, rejected string }{
		"good":    {token: token, email: "viewer@example.com"},
		"changed": {token: token[:len(token)-8] + "AAAAAAAA", rejected: "failed to verify signature"},
		"empty":   {rejected: "malformed jwt"},
	} {
		t.Run(name, func(t *testing.T) {
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Type: SecretType, Data: map[string][]byte{"token": []byte(test.token)}}
			if _, err := client.CoreV1().Secrets(namespace).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			limit := int64(20)
			watch, err := client.CoreV1().Secrets(namespace).Watch(t.Context(), metav1.ListOptions{
				FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String(), TimeoutSeconds: &limit,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer watch.Stop()
			for event := range watch.ResultChan() {
				found, ok := event.Object.(*corev1.Secret)
				if !ok || found.Annotations == nil {
					continue
				}
				email, rejected := found.Annotations[EmailAnnotation], found.Annotations[RejectedAnnotation]
				if email != test.email || (rejected == "") != (test.rejected == "") || !strings.Contains(rejected, test.rejected) {
					t.Errorf("e-mail %q, rejected %q", email, rejected)
				}
				return
			}
			t.Error("the controller said nothing for 20s")
		})
	}
}

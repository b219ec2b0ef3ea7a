// Package controller tells in each Secret of its type whose token is in it.
package controller

import (
	"context"
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"example.com/notes/login"
)

// SecretType is that of Secrets with a token in the key of that name.
const SecretType = "notes.example.com/login"

// Annotations that the controller sets: the e-mail, or why there is none.
const (
	EmailAnnotation    = "notes.example.com/email"
	RejectedAnnotation = "notes.example.com/rejected"
)

// Run watches Secrets in all namespaces until the context ends.
func Run(ctx context.Context, client kubernetes.Interface, logins *login.Verifier) error {
	watch := cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "secrets", metav1.NamespaceAll, fields.OneTermEqualSelector("type", SecretType))
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: watch, ObjectType: &corev1.Secret{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { reconcile(ctx, client, logins, o.(*corev1.Secret)) },
			UpdateFunc: func(_, o any) { reconcile(ctx, client, logins, o.(*corev1.Secret)) },
		},
	})
	informer.RunWithContext(ctx)
	return ctx.Err()
}

func reconcile(ctx context.Context, client kubernetes.Interface, logins *login.Verifier, secret *corev1.Secret) {
	email, rejected := "", ""
	email, err := logins.Email(ctx, string(secret.Data["token"]))
	if err != nil {
		rejected = err.Error()
	}
	if secret.Annotations[EmailAnnotation] == email && secret.Annotations[RejectedAnnotation] == rejected {
		return
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{EmailAnnotation: email, RejectedAnnotation: rejected}}})
	if err == nil {
		_, _ = client.CoreV1().Secrets(secret.Namespace).Patch(ctx, secret.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	}
}

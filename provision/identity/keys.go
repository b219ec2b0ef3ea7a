package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/devenv-oidc/devenv/provision/kube"
)

// HasKeys says whether Dex's signing keys are in its storage. Dex makes them when
// it starts; a running one whose storage was emptied answers every login with a
// server error, until it looks again.
func HasKeys(ctx context.Context, client *kube.Client) (bool, error) {
	_, err := client.Dynamic.Resource(signingKeys).Namespace(Namespace).Get(ctx, signingKeysName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("could not read Dex's signing key: %w", err)
	}
	return true, nil
}

// rotationLimit is more than the half minute after which Dex looks whether its
// key is due (github.com/dexidp/dex, server/signer).
const rotationLimit = 45 * time.Second

// RotateKeys makes Dex rotate its signing key now, and waits for it. Dex goes on
// to publish the earlier key for as long as tokens that it signed are valid. It
// returns the ids of both.
func RotateKeys(ctx context.Context, client *kube.Client) (old, key string, err error) {
	keys := client.Dynamic.Resource(signingKeys).Namespace(Namespace)
	before, err := keys.Get(ctx, signingKeysName, metav1.GetOptions{})
	if err != nil {
		return "", "", fmt.Errorf("could not read Dex's signing key: %w", err)
	}
	old = keyID(before)
	patch, err := json.Marshal(kube.Object{"nextRotation": time.Now().UTC().Add(-time.Second).Format(time.RFC3339Nano)})
	if err != nil {
		return old, "", err
	}
	if _, err := keys.Patch(ctx, signingKeysName, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: kube.FieldManager}); err != nil {
		return old, "", fmt.Errorf("could not make Dex's signing key due: %w", err)
	}
	limited, cancel := context.WithTimeoutCause(ctx, rotationLimit, fmt.Errorf("the limit of %s was reached", rotationLimit))
	defer cancel()
	err = kube.Poll(limited, "Dex to rotate its signing key, for which it looks every half minute", func(ctx context.Context) error {
		now, err := keys.Get(ctx, signingKeysName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if key = keyID(now); key == old {
			return errors.New("it has not yet")
		}
		return nil
	})
	return old, key, err
}

func keyID(object *unstructured.Unstructured) string {
	id, _, _ := unstructured.NestedString(object.Object, "signingKey", "kid")
	return id
}

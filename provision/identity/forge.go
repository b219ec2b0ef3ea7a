package identity

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/devenv-oidc/devenv/provision/kube"
)

// Signer signs tokens as Dex does: with Dex's own key, a token can be wrong in one
// way and right in all others.
type Signer struct{ key jose.JSONWebKey }

// signingKeys is the one object in which Dex stores its keys.
var signingKeys = schema.GroupVersionResource{Group: "dex.coreos.com", Version: "v1", Resource: "signingkeies"}

const signingKeysName = "openid-connect-keys"

// ReadSigner reads Dex's signing key from its storage.
func ReadSigner(ctx context.Context, client *kube.Client) (*Signer, error) {
	object, err := client.Dynamic.Resource(signingKeys).Namespace(Namespace).Get(ctx, signingKeysName, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("could not read Dex's signing key: %w", err)
	}
	text, err := json.Marshal(object.Object["signingKey"])
	if err != nil {
		return nil, fmt.Errorf("could not read Dex's signing key: %w", err)
	}
	var key jose.JSONWebKey
	if err := json.Unmarshal(text, &key); err != nil {
		return nil, fmt.Errorf("could not read Dex's signing key: %w", err)
	}
	if key.Key == nil {
		return nil, errors.New("could not read Dex's signing key: there is none yet")
	}
	return &Signer{key: key}, nil
}

// NewSigner has a key of its own, which no issuer has.
func NewSigner() (*Signer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	return &Signer{key: jose.JSONWebKey{Key: key, KeyID: "a-key-of-nobody", Algorithm: string(jose.RS256), Use: "sig"}}, nil
}

// KeyID is the id of the key, by which it is published.
func (s *Signer) KeyID() string { return s.key.KeyID }

// Sign makes a token of claims.
func (s *Signer) Sign(claims map[string]any) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: s.key}, nil)
	if err != nil {
		return "", fmt.Errorf("could not sign a token: %w", err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("could not sign a token: %w", err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("could not sign a token: %w", err)
	}
	return signed.CompactSerialize()
}

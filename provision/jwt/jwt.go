// Package jwt reads tokens as any holder of one can: without verifying them,
// which is the API server's business.
package jwt

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Claims reads a token's claims without verifying it.
func Claims(token string) (map[string]any, error) {
	claims := map[string]any{}
	if err := part(token, 1, &claims); err != nil {
		return nil, fmt.Errorf("the token's claims: %w", err)
	}
	if claims == nil { // JSON's null
		return nil, errors.New("the token's claims are no object")
	}
	return claims, nil
}

// KeyID is the id of the key that a token says it was signed with (RFC 7515,
// section 4.1.4); "" where it says none.
func KeyID(token string) string {
	var header struct {
		KeyID string `json:"kid"`
	}
	if err := part(token, 0, &header); err != nil {
		return ""
	}
	return header.KeyID
}

// part decodes the header or the claims of a token.
func part(token string, i int, into any) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return fmt.Errorf("a JWT has 3 parts, and this has %d", len(parts))
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[i])
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// Expiry is when a token ends.
func Expiry(token string) (time.Time, error) {
	claims, err := Claims(token)
	if err != nil {
		return time.Time{}, err
	}
	exp, ok := claims["exp"].(float64)
	if !ok {
		return time.Time{}, errors.New("the token has no claim exp")
	}
	return time.Unix(int64(exp), 0), nil
}

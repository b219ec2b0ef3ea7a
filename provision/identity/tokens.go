package identity

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// TokenRequest asks for an id token by password (RFC 6749, section 4.3).
type TokenRequest struct {
	Client, Secret  string // Secret is empty for a public client
	Email, Password string
}

// LoginError says that Dex refused a login, in Dex's words (RFC 6749, 5.2).
type LoginError struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
	Email       string `json:"-"`
}

func (e *LoginError) Error() string {
	return fmt.Sprintf("Dex refused the login of %s: %s: %s", e.Email, e.Code, e.Description)
}

// Token logs a user in and returns the id token.
func Token(ctx context.Context, client *http.Client, issuer string, r TokenRequest) (string, error) {
	form := url.Values{"grant_type": {"password"}, "scope": {"openid email profile groups"}, "username": {r.Email}, "password": {r.Password}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, issuer+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(url.QueryEscape(r.Client), url.QueryEscape(r.Secret))
	response, err := client.Do(request)
	if err != nil {
		return "", fmt.Errorf("could not ask Dex for a token: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", fmt.Errorf("could not ask Dex for a token: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		refused := &LoginError{Email: r.Email}
		if err := json.Unmarshal(body, refused); err != nil || refused.Code == "" {
			return "", fmt.Errorf("could not ask Dex for a token: %s: %s", response.Status, strings.TrimSpace(string(body)))
		}
		return "", refused
	}
	var answer struct {
		IDToken string `json:"id_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.IDToken == "" {
		return "", fmt.Errorf("could not read Dex's answer: it holds no id_token")
	}
	return answer.IDToken, nil
}

// Claims reads a token's claims without verifying it.
func Claims(token string) (map[string]any, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("the token is no JWT: it has %d parts, not 3", len(parts))
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, fmt.Errorf("the token's claims: %w", err)
	}
	claims := map[string]any{}
	if err := json.Unmarshal(text, &claims); err != nil {
		return nil, fmt.Errorf("the token's claims: %w", err)
	}
	return claims, nil
}

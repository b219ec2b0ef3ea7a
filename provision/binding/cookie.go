package binding

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"time"
)

// Dated is a cookie of gorilla/securecookie with another date, signed correctly
// with the backend's key. It is base64 of "date|value|mac", where the mac
// (HMAC-SHA256) is of "name|date|value" (securecookie.go, Encode).
func Dated(name, cookie string, signingKey []byte, date time.Time) (string, error) {
	text, err := base64.URLEncoding.DecodeString(cookie)
	if err != nil {
		return "", err
	}
	parts := bytes.SplitN(text, []byte("|"), 3)
	if len(parts) != 3 {
		return "", errors.New("the cookie is not one of gorilla/securecookie")
	}
	signed := bytes.Join([][]byte{strconv.AppendInt(nil, date.UTC().Unix(), 10), parts[1]}, []byte("|"))
	mac := hmac.New(sha256.New, signingKey)
	mac.Write([]byte(name + "|"))
	mac.Write(signed)
	return base64.URLEncoding.EncodeToString(mac.Sum(append(signed, '|'))), nil
}

// Changed is a cookie with one bit of its signature turned.
func Changed(cookie string) (string, error) {
	text, err := base64.URLEncoding.DecodeString(cookie)
	if err != nil || len(text) == 0 {
		return "", errors.New("the cookie is not in base64")
	}
	text[len(text)-1] ^= 1
	return base64.URLEncoding.EncodeToString(text), nil
}

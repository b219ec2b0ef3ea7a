package report

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// redactor replaces secrets by placeholders: one secret by the same placeholder
// everywhere, so that it still shows where two are equal.
type redactor struct {
	placeholders map[string]string // by secret
	known        []string          // those to be found everywhere, in any encoding
	counts       map[string]int    // by kind of secret
	replacer     *strings.Replacer // of the known ones; nil until it is needed
}

func newRedactor() *redactor {
	return &redactor{placeholders: map[string]string{}, counts: map[string]int{}}
}

// shortest is the length from which a text can be a secret; shorter ones would
// tear up ordinary words.
const shortest = 6

// know adds a secret of a kind, such as "password". What is not text is known in
// its encodings alone.
func (r *redactor) know(kind, secret string) {
	if secret = strings.TrimSpace(secret); len(secret) >= shortest {
		r.placeholder(kind, secret)
		r.known, r.replacer = append(r.known, secret), nil
	}
}

// placeholder is what stands for a secret.
func (r *redactor) placeholder(kind, secret string) string {
	if p, ok := r.placeholders[secret]; ok {
		return p
	}
	r.counts[kind]++
	p := fmt.Sprintf("%s%s-%d", placeholderStart, kind, r.counts[kind])
	r.placeholders[secret] = p
	return p
}

const placeholderStart = "REDACTED-"

// redacted says whether a text is a placeholder.
func redacted(text string) bool { return strings.HasPrefix(text, placeholderStart) }

// patterns find secrets that nobody told the redactor of: the group, or where a
// pattern has none all of it.
var patterns = []struct {
	kind    string
	pattern *regexp.Regexp
}{
	{"key", regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?`)},
	{"token", regexp.MustCompile(`eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)*`)},
	{"token", encodedJWT()},
	{"hash", regexp.MustCompile(`\$2[abxy]?\$\d\d\$[./A-Za-z0-9]{53}`)},
	{"password", regexp.MustCompile(`://[^/\s:@"]+:([^/\s@"]+)@`)}, // of a URL, as a proxy has
	{"token", regexp.MustCompile(`(?i)bearer[ +:=]+"?([A-Za-z0-9._~+/-]{8,}=*)`)},
	{"cookie", regexp.MustCompile(`(?i)(?:set-)?cookie"?: *"?([^\r\n"]+)`)},
	{"secret", regexp.MustCompile(`(?i)(?:access_token|refresh_token|id_token|client_secret|device_code|code_verifier|password|passwd|bindpw)(?:=|%3D)([^&\s"',;]{4,})`)},
	{"secret", regexp.MustCompile(`(?im)^[\s-]*(?:password|passwd|client_?secret|bindPW|refresh_?token): +["']?([^\s"']{4,})`)}, // in YAML
	{"secret", regexp.MustCompile(`(?i)"(?:access_token|refresh_token|id_token|client_secret|device_code|client-key-data|token|password|clientSecret|bindPW)" ?: ?"([^"]{4,})"`)},
	{"key", regexp.MustCompile(`"(?:d|dp|dq|qi|p|q|k)" ?: ?"([A-Za-z0-9_=-]{16,})"`)}, // of a JSON Web Key (RFC 7518, section 6)
	{"key", regexp.MustCompile(`client-key-data: *([A-Za-z0-9+/=]+)`)},
}

// encodedJWT finds JSON Web Tokens in base64 and in hex, by the first field of
// their header: alg or typ.
func encodedJWT() *regexp.Regexp {
	var starts []string
	for _, start := range []string{"eyJhbGciOi", "eyJ0eXAiOi"} {
		for shift := range 3 {
			starts = append(starts, regexp.QuoteMeta(inner(base64.RawURLEncoding, start, shift)))
		}
		starts = append(starts, hex.EncodeToString([]byte(start)))
	}
	return regexp.MustCompile(`(?:` + strings.Join(starts, "|") + `)[A-Za-z0-9+/_=-]{20,}`)
}

// encodedPEM finds PEM in base64, as in kubeconfigs and Secrets.
var encodedPEM = regexp.MustCompile(`LS0tLS1CRUdJTi[A-Za-z0-9+/]{20,}=*`)

// value returns what JSON was decoded to, without secrets in its strings. Keys
// stay: a password that is an ordinary word must not change them.
func (r *redactor) value(v any) any {
	switch v := v.(type) {
	case string:
		return string(r.redact([]byte(v)))
	case []any:
		for i := range v {
			v[i] = r.value(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = r.value(v[key])
		}
	}
	return v
}

// redact returns a text without secrets.
func (r *redactor) redact(text []byte) []byte {
	if r.replacer == nil {
		r.replacer = r.makeReplacer()
	}
	out := []byte(r.replacer.Replace(string(text)))
	out = encodedPEM.ReplaceAllFunc(out, func(found []byte) []byte {
		decoded, _ := base64.RawStdEncoding.DecodeString(strings.TrimRight(string(found), "="))
		if !bytes.Contains(decoded, []byte("PRIVATE KEY")) {
			return found
		}
		return []byte(r.placeholder("key", string(found)))
	})
	for _, p := range patterns {
		out = r.replaceGroup(out, p.kind, p.pattern)
	}
	return out
}

// replaceGroup replaces what a pattern finds.
func (r *redactor) replaceGroup(text []byte, kind string, pattern *regexp.Regexp) []byte {
	var out []byte
	at := 0
	for _, m := range pattern.FindAllSubmatchIndex(text, -1) {
		from, to := m[len(m)-2], m[len(m)-1] // the only group, or all
		secret := string(text[from:to])
		out = append(out, text[at:from]...)
		if redacted(secret) {
			out = append(out, secret...)
		} else {
			out = append(out, r.placeholder(kind, secret)...)
		}
		at = to
	}
	return append(out, text[at:]...)
}

// makeReplacer finds every known secret in every form in which it may stand in a
// file; the longest first, since one can hold another.
func (r *redactor) makeReplacer() *strings.Replacer {
	secrets := slices.Clone(r.known)
	slices.SortFunc(secrets, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	var pairs []string
	for _, secret := range secrets {
		for _, form := range forms(secret) {
			pairs = append(pairs, form, r.placeholders[secret])
		}
	}
	return strings.NewReplacer(pairs...)
}

// forms are a secret as it is and in each encoding.
func forms(secret string) []string {
	list := []string{secret, url.QueryEscape(secret), url.PathEscape(secret), hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret)))}
	if quoted, err := json.Marshal(secret); err == nil {
		list = append(list, strings.Trim(string(quoted), `"`))
	}
	for shift := range 3 { // inside a longer text that is encoded, such as a kubeconfig
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			list = append(list, inner(encoding, secret, shift))
		}
	}
	slices.Sort(list)
	list = slices.Compact(list)
	slices.SortFunc(list, func(a, b string) int { return len(b) - len(a) })
	return slices.DeleteFunc(list, func(s string) bool { return len(s) < shortest })
}

// inner is what a secret becomes in base64 when shift bytes stand before it in
// its group of three, without the characters that its neighbours change.
func inner(encoding *base64.Encoding, secret string, shift int) string {
	encoded := encoding.EncodeToString(append(make([]byte, shift), secret...))
	first := []int{0, 2, 3}[shift]
	last := len(encoded)
	if (len(secret)+shift)%3 != 0 {
		last--
	}
	return encoded[min(first, last):last]
}

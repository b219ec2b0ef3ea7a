package report

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/check"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/state"
)

func TestRedactKnownSecretsInEveryEncoding(t *testing.T) {
	const secret = "p@ss/wörd+\"7"
	r := newRedactor()
	r.know("password", secret)
	quoted, _ := json.Marshal(secret)
	for name, form := range map[string]string{
		"raw":           "it is " + secret + ".",
		"base64":        base64.StdEncoding.EncodeToString([]byte(secret)),
		"base64url":     base64.RawURLEncoding.EncodeToString([]byte(secret)),
		"base64 inside": base64.StdEncoding.EncodeToString([]byte("user: x, password: " + secret + ", more")),
		"shifted":       base64.StdEncoding.EncodeToString([]byte("12" + secret + "34")),
		"hex":           hex.EncodeToString([]byte(secret)),
		"query":         "a=" + url.QueryEscape(secret) + "&b",
		"path":          url.PathEscape(secret),
		"JSON":          string(quoted),
	} {
		got := string(r.redact([]byte(form)))
		if !strings.Contains(got, "REDACTED-password-1") {
			t.Errorf("%s: %q became %q", name, form, got)
		}
	}
}

func TestRedactWhatNobodyTold(t *testing.T) {
	key := "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIAbc\nxyz=\n-----END EC PRIVATE KEY-----\n"
	payload := base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"somebody"}`))
	for _, c := range []struct{ text, secret string }{
		{"token=eyJhbGciOiJSUzI1NiJ9." + payload + ".c2lnbmF0dXJl end", payload},
		{"unsigned eyJhbGciOiJub25lIn0." + payload + ".", payload},
		{"x" + base64.StdEncoding.EncodeToString([]byte("a token: eyJhbGciOiJSUzI1NiJ9."+payload+".c2lnbmF0dXJl")), base64.RawStdEncoding.EncodeToString([]byte(payload))[4:20]},
		{hex.EncodeToString([]byte("eyJ0eXAiOiJKV1QifQ." + payload)), hex.EncodeToString([]byte(payload))},
		{key, "MHcCAQEEIAbc"},
		{strings.ReplaceAll(key, "\n", `\n`), "MHcCAQEEIAbc"},
		{"data: " + base64.StdEncoding.EncodeToString([]byte(key)), base64.StdEncoding.EncodeToString([]byte(key))[30:60]},
		{"$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", "N9qo8uLOickgx2ZMRZoMye"},
		{"Authorization: Bearer abcdefgh12345678", "abcdefgh12345678"},
		{"Set-Cookie: session=12345; Path=/", "12345"},
		{"POST /token?refresh_token=abcdef123&x=1", "abcdef123"},
		{`{"access_token":"opaque-value"}`, "opaque-value"},
		{`{"kty":"EC","d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}`, "870MB6gfuTJ4"},
		{"a: 1\n  password: hunter22\n", "hunter22"},
		{"HTTPS_PROXY=http://me:hunter2@proxy:3128", "hunter2"},
	} {
		r := newRedactor()
		got := string(r.redact([]byte(c.text + " " + c.text)))
		if strings.Contains(got, c.secret) || !strings.Contains(got, "REDACTED-") {
			t.Errorf("%q became %q", c.text, got)
		}
		if strings.Contains(got, "-2") {
			t.Errorf("equal secrets are different: %q", got)
		}
		if again := string(r.redact([]byte(got))); again != got {
			t.Errorf("redacted once more, %q became %q", got, again)
		}
	}
	certificate := "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
	if got := string(newRedactor().redact([]byte(certificate))); got != certificate {
		t.Errorf("a certificate became %q", got)
	}
}

// Passwords that are short, or ordinary words, go out of their fields and leave
// the profile what it is.
func TestReportOfPasswordsThatAreWords(t *testing.T) {
	profile, err := profiles.Load("default")
	if err != nil {
		t.Fatal(err)
	}
	passwords := []string{"1234", "password", "developers", "kubernetes"}
	for i, p := range passwords {
		profile.Spec.Dex.Users[i].Password = p
	}
	e := environment.New(state.Home(t.TempDir()), &record.Record{Name: "x", Profile: *profile}, record.Runtime{})
	c := &collector{env: e, redactor: newRedactor(), report: Report{Version: version, Name: "x", Profile: *profile}}
	learn(t.Context(), e, c.redactor)
	if err := c.profile(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, text, err := c.redacted()
	if err != nil {
		t.Fatal(err)
	}
	for _, written := range []string{string(text), string(c.files[0].text)} {
		for _, p := range passwords {
			if strings.Contains(written, `"password": "`+p) || strings.Contains(written, "password: "+p+"\n") || strings.Contains(written, `password: "`+p) {
				t.Errorf("the password %s is in it:\n%s", p, written)
			}
		}
	}
	r, err := decode(text)
	if err != nil {
		t.Fatal(err)
	}
	for i := range passwords {
		if !redacted(r.Profile.Spec.Dex.Users[i].Password) {
			t.Errorf("%q", r.Profile.Spec.Dex.Users[i].Password)
		}
		r.Profile.Spec.Dex.Users[i].Password, profile.Spec.Dex.Users[i].Password = "", ""
	}
	if !reflect.DeepEqual(r.Profile, *profile) {
		t.Errorf("the profile became %+v", r.Profile)
	}
}

func TestEndIsWholeLines(t *testing.T) {
	text := strings.Repeat("x", fileLimit) + "secret cut\nwhole\n"
	if got := string(end([]byte(text))); got != "whole\n" {
		t.Errorf("%.40q", got)
	}
}

func sample(t testing.TB) Report {
	t.Helper()
	profile, err := profiles.Load("default")
	if err != nil {
		t.Fatal(err)
	}
	profile.Spec.Dex.Users[0].Password, profile.Spec.Dex.Users[1].Password = "REDACTED-password-1", "REDACTED-password-1"
	profile.Spec.Dex.Users[2].Password = "REDACTED-password-2"
	return Report{Version: version, Devenv: "v1", Name: "there", Runtime: "kind", Profile: *profile}
}

// archive makes a zip of names and contents.
func archive(t testing.TB, files ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for i := 0; i < len(files); i += 2 {
		f, err := w.Create(files[i])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, files[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func sampleJSON(t testing.TB) string {
	text, err := json.Marshal(sample(t))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRebuildHasNewSecretsThatAreEqualWhereTheyWere(t *testing.T) {
	r, err := parse(archive(t, "x/report.json", sampleJSON(t)))
	if err != nil {
		t.Fatal(err)
	}
	profile, differs := r.Rebuild(profiles.Pinned(), "v2")
	users := profile.Spec.Dex.Users
	if users[0].Password != users[1].Password || users[0].Password == users[2].Password || redacted(users[0].Password) || len(users[0].Password) < 20 {
		t.Errorf("passwords %q, %q, %q", users[0].Password, users[1].Password, users[2].Password)
	}
	if !strings.Contains(strings.Join(differs, "\n"), "devenv: v1 there, v2 here") {
		t.Errorf("%q", differs)
	}
	if !redacted(r.Profile.Spec.Dex.Users[0].Password) {
		t.Error("the report itself was changed")
	}
}

func TestHostileArchives(t *testing.T) {
	many := make([]string, 0, 2*(entriesLimit+1))
	for range entriesLimit + 1 {
		many = append(many, "x", "")
	}
	var link bytes.Buffer
	w := zip.NewWriter(&link)
	header := &zip.FileHeader{Name: "r/report.json"}
	header.SetMode(fs.ModeSymlink | 0o777)
	f, err := w.CreateHeader(header)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(f, "/etc/passwd")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	good := sampleJSON(t)
	for want, text := range map[string][]byte{
		"not a valid zip":            []byte("no zip"),
		"it has no report.json":      archive(t, "../../etc/report.json", good, "/report.json/x", good),
		"twice":                      archive(t, "a/report.json", good, "b/report.json", good),
		"more than 10000 files":      archive(t, many...),
		"is no regular file":         link.Bytes(),
		"more than 8 MiB":            archive(t, "r/report.json", strings.Repeat(" ", reportLimit+1)),
		"invalid character":          archive(t, "report.json", "no JSON"),
		"it has the format 2":        archive(t, "report.json", strings.Replace(good, `"version":1`, `"version":2`, 1)),
		"spec.dex.users[0].email":    archive(t, "report.json", strings.Replace(good, "admin@example.com", "nobody", 1)),
		"cannot unmarshal":           archive(t, "report.json", `{"version":"1"}`),
		"it has the format 0":        archive(t, "report.json", `null`),
		"unexpected end of JSON inp": archive(t, "report.json", ``),
	} {
		file := filepath.Join(t.TempDir(), "report.zip")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Read(file)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
		if entries, _ := os.ReadDir(filepath.Dir(file)); len(entries) != 1 {
			t.Errorf("%q: something was written beside it", want)
		}
	}
	for _, file := range []string{t.TempDir(), filepath.Join(t.TempDir(), "missing"), "/dev/zero"} {
		if _, err := Read(file); err == nil {
			t.Errorf("%s was read", file)
		}
	}
}

func TestAgainst(t *testing.T) {
	r := Report{Name: "there", Results: []check.Result{
		{Group: "identity", Name: "a is a in main", OK: true, Detail: "1"},
		{Group: "access", Name: "a can list pods", Detail: "it is forbidden"},
		{Group: "issuer", Name: "pod reads https://dex.there.localhost:31000", Detail: "dial 127.0.0.1:31000: refused"},
		{Group: "access", Name: "b can list pods", Detail: "it is forbidden"},
		{Group: "access", Name: "only there", OK: true},
	}}
	list := r.Against([]check.Result{
		{Group: "identity", Name: "a is a in main", OK: true, Detail: "2"},
		{Group: "access", Name: "a can list pods", OK: true},
		{Group: "issuer", Name: "pod reads https://dex.here.localhost:32000", Detail: "dial 127.0.0.1:32000: refused"},
		{Group: "access", Name: "b can list pods", Detail: "deadline exceeded"},
		{Group: "access", Name: "only here", OK: true},
	}, "here")
	var got []string
	for _, c := range list {
		got = append(got, map[bool]string{true: "= ", false: "≠ "}[c.Same]+c.There+" / "+c.Here)
	}
	want := "= ok / ok\n≠ failed: it is forbidden / ok\n= failed: dial 127.0.0.1:31000: refused / failed: dial 127.0.0.1:32000: refused\n" +
		"≠ failed: it is forbidden / failed: deadline exceeded\n≠ not made / ok\n≠ ok / not made"
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

func TestPageOfNothing(t *testing.T) {
	r := sample(t)
	r.Name = "<script>alert(1)</script>"
	page, err := r.page()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(page, []byte("<script>")) || !bytes.Contains(page, []byte("could not be made")) {
		t.Errorf("%s", page)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(archive(f, "x/report.json", sampleJSON(f)))
	f.Add(archive(f, "report.json", "{}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parse(text)
		if err == nil {
			r.Rebuild(profiles.Pinned(), "x")
		}
	})
}

package e2e

import (
	"archive/zip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/devenv-oidc/devenv/profiles"
)

// filesOf reads a report's archive.
func filesOf(t *testing.T, archive string) map[string]string {
	t.Helper()
	r, err := zip.OpenReader(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	files := map[string]string{}
	for _, f := range r.File {
		content, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(content)
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(f.Name, "/")
		files[name] = string(text)
	}
	return files
}

// A bug on purpose, the classic one: the group of a binding lacks its prefix.
// Reported, rebuilt elsewhere, the same proof fails for the same reason.
func TestReportRoundTrip(t *testing.T) {
	const there, here = "e2e-there", "e2e-here"
	profile := must(t, "profiles", "show", "default").stdout
	broken := strings.Replace(profile, "oidc:developers", "developers", 1)
	if broken == profile {
		t.Fatalf("the default profile looks otherwise:\n%s", profile)
	}
	defer must(t, "down", "--name", there)
	r := devenv(t, "up", "--name", there, "--runtime", "process", "--file", write(t, "broken.yaml", broken))
	r.wants(t, 5, "hint: or show it to somebody else, without secrets: devenv report --name "+there)

	archive := filepath.Join(t.TempDir(), "case.zip")
	must(t, "report", "--name", there, archive)
	devenv(t, "report", "--name", there, archive).wants(t, 2, "could not write the report")
	devenv(t, "up", "--name", here, "--from", archive, "--profile", "klutch").wants(t, 2, "exclude each other")

	defer must(t, "down", "--name", here)
	rebuilt := devenv(t, "up", "--name", here, "--from", archive)
	rebuilt.wants(t, 5, "not the same as in the report", "passwords and secrets are new", "dev@example.com can create deployments.apps in demo")
	compared := devenv(t, "check", "--name", here, "--against", archive)
	compared.wants(t, 0, "= access: dev@example.com can create deployments.apps in demo", "0 came out otherwise than in the report")

	must(t, "up", "--name", here, "--runtime", "process")
	devenv(t, "check", "--name", here, "--against", archive).wants(t, 5, "≠ access: dev@example.com can create deployments.apps in demo", "here   ok")
}

// No secret of an environment is in its report, in any encoding.
func TestReportHasNoSecret(t *testing.T) { onBoth(t, testReportHasNoSecret) }

func testReportHasNoSecret(t *testing.T, name string) {
	token := strings.TrimSpace(must(t, "token", "--name", name, "--user", "dev@example.com").stdout)
	secrets := knownSecrets(t, name)
	secrets["a token"] = token
	if len(secrets) < 8 {
		t.Fatalf("only %d secrets were found", len(secrets))
	}
	// somebody wrote each of them down in each encoding, where a report looks
	var planted []string
	for _, secret := range secrets {
		for _, form := range encodings(secret) {
			planted = append(planted, "leaked "+form.written+" here")
		}
	}
	admin := statusOf(t, name).Clusters[0].Kubeconfig
	mustKubectl(t, admin, "create", "configmap", "planted", "--from-file="+write(t, "planted", strings.Join(planted, "\n")))
	defer mustKubectl(t, admin, "delete", "configmap", "planted")

	archive := filepath.Join(t.TempDir(), "case.zip")
	must(t, "report", "--name", name, archive)
	files := filesOf(t, archive)
	if found := strings.Count(files["clusters/main/configmaps.yaml"], "leaked "); found != len(planted) {
		t.Errorf("%d of %d planted lines are in the report", found, len(planted))
	}
	for _, want := range []string{"report.html", "report.json", "profile.yaml", "clusters/main/rolebindings.yaml", "clusters/main/api-server-flags.yaml"} {
		if files[want] == "" {
			t.Errorf("there is no %s", want)
		}
	}
	for file, text := range files {
		for what, secret := range secrets {
			for encoding, form := range encodings(secret) {
				if strings.Contains(text, form.searched) {
					t.Errorf("%s holds %s, %s", file, what, encoding)
				}
			}
		}
		if strings.Contains(text, "PRIVATE KEY") || strings.Contains(text, "$2a$1") {
			t.Errorf("%s holds a private key or a hash", file)
		}
	}
	var report struct {
		Missing []string
		Results []any
		Doctor  struct{ FirstFailure string }
	}
	if name == shared && !strings.Contains(files["clusters/main/secrets.yaml"], "enablePasswordDB: true") {
		t.Error("Dex's configuration is not in the report")
	}
	if err := json.Unmarshal([]byte(files["report.json"]), &report); err != nil || len(report.Missing) > 0 || len(report.Results) < 30 || report.Doctor.FirstFailure != "" {
		t.Errorf("report.json: %v, %+v", err, report.Missing)
	}
}

// knownSecrets are an environment's secrets, by what they are: those of the record,
// and every line of its private keys.
func knownSecrets(t *testing.T, name string) map[string]string {
	t.Helper()
	found := map[string]string{}
	var record struct {
		Profile profiles.Environment
	}
	text, err := os.ReadFile(filepath.Join(home, name, "environment.json"))
	if err == nil {
		err = json.Unmarshal(text, &record)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range record.Profile.Spec.Dex.Users {
		found["the password of "+u.Email] = u.Password
	}
	for _, c := range record.Profile.Spec.Dex.Clients {
		if !c.Public {
			found["the secret of "+c.ID] = c.Secret
		}
	}
	err = filepath.WalkDir(filepath.Join(home, name), func(path string, _ os.DirEntry, err error) error {
		if filepath.Ext(path) != ".key" {
			return err
		}
		text, err := os.ReadFile(path)
		for i, line := range strings.Split(string(text), "\n") {
			if len(line) > 16 && !strings.HasPrefix(line, "-----") {
				found[fmt.Sprintf("line %d of %s", i, filepath.Base(path))] = line
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// form is a secret as somebody wrote it, and the part of that to look for.
type form struct{ written, searched string }

// encodings are the forms in which a secret could hide, by name.
func encodings(secret string) map[string]form {
	text := []byte(secret)
	forms := map[string]form{}
	for name, written := range map[string]string{
		"raw": secret, "hex": hex.EncodeToString(text), "URL-escaped": url.QueryEscape(secret),
		"base64": base64.RawStdEncoding.EncodeToString(text), "base64url": base64.RawURLEncoding.EncodeToString(text),
	} {
		forms[name] = form{written, written}
	}
	for shift := 1; shift <= 2; shift++ { // as inside a JWT or a kubeconfig
		around := strings.Repeat("{", shift) + secret + "}}"
		written := base64.RawURLEncoding.EncodeToString([]byte(around))
		forms[fmt.Sprintf("inside base64, shifted by %d", shift)] = form{written, written[4 : len(written)-4]}
	}
	return forms
}

// A report of an environment whose processes are all dead still has what can be
// had, and its page marks the hop that fails.
func TestReportOfABrokenEnvironment(t *testing.T) {
	needPlain(t)
	defer must(t, "up", "--name", plain)
	for _, p := range statusOf(t, plain).Processes {
		kill(t, p.PID)
	}
	archive := filepath.Join(t.TempDir(), "case.zip")
	must(t, "report", "--name", plain, archive)
	files := filesOf(t, archive)
	page := write(t, "report.html", files["report.html"])
	if !strings.Contains(files["report.json"], `"firstFailure": "processes"`) {
		t.Errorf("report.json: %.500s", files["report.json"])
	}
	var failed, verdict, colour string
	err := chromedp.Run(chromium(t, t.TempDir()),
		chromedp.Navigate("file://"+page),
		chromedp.Text(".path .failed", &failed),
		chromedp.Text(".verdict", &verdict),
		chromedp.Evaluate(`getComputedStyle(document.querySelector(".path .failed")).backgroundColor`, &colour))
	if err != nil || !strings.Contains(failed, "processes") || !strings.Contains(verdict, "processes") || colour != "rgb(194, 47, 47)" {
		t.Errorf("in the browser: %v, %q, %q, %q", err, failed, verdict, colour)
	}
}

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestPasswordGrant(t *testing.T) {
	onEach(t, "password-grant", func(t *testing.T, name string) {
		s := statusOf(t, name)
		devenv(t, "check", "--name", name).wants(t, 0,
			"✓ user@example.com lists with kubectl: list services",
			"✓ rejected: tampered",
			"✓ rejected: e-mail of unverified@example.com not verified  (401, oidc: email not verified)", ", 0 failed")

		// by plain HTTP, as the integration does it
		host, port, _ := strings.Cut(strings.TrimPrefix(s.Issuer.URL, "https://"), ":")
		address, _, _ := strings.Cut(s.Issuer.Address, ":")
		out, err := exec.CommandContext(t.Context(), "curl", "--silent", "--show-error", "--cacert", s.Issuer.CAFile,
			"--resolve", host+":"+port+":"+address, s.Issuer.URL+"/token",
			"--data", "grant_type=password", "--data", "scope=openid email", "--data", "client_id=kubernetes",
			"--data-urlencode", "client_secret="+secretsOf(t, name).Profile.Spec.Dex.Clients[0].Secret,
			"--data", "username=user@example.com", "--data-urlencode", "password="+passwordOf(t, name, "user@example.com")).CombinedOutput()
		var answer struct {
			IDToken string `json:"id_token"`
		}
		if err != nil || json.Unmarshal(out, &answer) != nil || answer.IDToken == "" {
			t.Fatalf("curl: %v\n%s", err, out)
		}
		text := must(t, "kubeconfig", "--name", name, "--flavor", "token").stdout
		static := write(t, "static", replaceToken(text, answer.IDToken))
		if _, err := kubectl(t, static, "get", "services"); err != nil {
			t.Error(err)
		}
		at, other := len(answer.IDToken)-10, "A"
		if answer.IDToken[at:at+1] == other { // it is, once in 64 times
			other = "B"
		}
		changed := write(t, "changed", replaceToken(text, answer.IDToken[:at]+other+answer.IDToken[at+1:]))
		if _, err := kubectl(t, changed, "get", "services"); err == nil || !strings.Contains(err.Error(), "Unauthorized") && !strings.Contains(err.Error(), "must be logged in") {
			t.Errorf("with one byte changed: %v", err)
		}
		for _, version := range []string{"v1", "v1beta1"} {
			text := must(t, "kubeconfig", "--name", name, "--exec-api-version", version).stdout
			if !strings.Contains(text, "client.authentication.k8s.io/"+version+"\n") {
				t.Errorf("the kubeconfig is not for %s:\n%s", version, text)
			}
			if _, err := kubectl(t, write(t, version, text), "get", "services"); err != nil {
				t.Errorf("%s: %v", version, err)
			}
		}
	})
}

func passwordOf(t *testing.T, name, email string) string {
	t.Helper()
	for _, u := range secretsOf(t, name).Profile.Spec.Dex.Users {
		if u.Email == email {
			return u.Password
		}
	}
	t.Fatalf("there is no user %s", email)
	return ""
}

// secrets are what the environment's record has and no command shows.
type secrets struct {
	Profile struct {
		Spec struct {
			Dex struct {
				Users   []struct{ Email, Password string }
				Clients []struct{ ID, Secret string }
			}
		}
	}
}

func secretsOf(t *testing.T, name string) (s secrets) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(home, name, "environment.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

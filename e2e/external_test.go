package e2e

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// An issuer that somebody else runs, with other paths than Dex's, takes Dex's
// place: trust, bindings, proofs and kubeconfigs are as ever. Its users come by a
// password, by a file and by a command.
func TestExternalIssuer(t *testing.T) {
	t.Parallel()
	for _, runtime := range []string{"process", "kind"} {
		t.Run(runtime, func(t *testing.T) {
			t.Parallel()
			p := startProvider(t, docker(t, "network", "inspect", "bridge", "--format={{(index .IPAM.Config 0).Gateway}}"))
			name := "e2e-external-" + runtime
			profile := write(t, "external.yaml", fmt.Sprintf(`
apiVersion: devenv.dev/v1alpha1
kind: Environment
metadata: {name: external, description: an issuer that somebody else runs}
spec:
  clusters:
  - name: main
    trust: {flags: {clientID: kubernetes, usernameClaim: email, groupsClaim: groups, groupsPrefix: "${environment}:"}}
    access:
      namespaces: [demo]
      bindings: [{name: developers, clusterRole: edit, namespace: demo, groups: ["%s:developers"]}]
  issuer:
    url: %s
    caFile: %s
    clients: [{id: kubernetes, secret: hush}]
    users:
    - {email: dev@example.com, password: known, groups: [developers]}
    - {email: file@example.com, groups: [others], token: {file: %s}}
    - {email: command@example.com, token: {command: [cat, %s]}}
    - {email: new@example.com, emailVerified: false, password: known}
  expectations:
  - {user: dev@example.com, can: [create pods in demo], cannot: [list secrets]}
  - {user: file@example.com, cannot: [list pods in demo]}
`, name, p.issuer, p.caFile, p.tokenFile(t, "file@example.com", "others"), p.tokenFile(t, "command@example.com")))
			up := []string{"up", "--name", name, "--runtime", runtime, "--file", profile}
			devenv(t, append(up, "--set", "spec.issuer.caFile=''")...).wants(t, 3, "does not verify", "hint: name the CA that signed it in the profile: spec.issuer.caFile")
			devenv(t, append(up, "--set", "spec.issuer.url="+p.issuer+"/x")...).wants(t, 3, "does not answer", "404", "hint: start it, or correct spec.issuer.url")
			must(t, "down", "--name", name)

			must(t, up...).wants(t, 0, "ready and proven")
			if runtime == "kind" { // for what the profile may run
				mustKubectl(t, statusOf(t, name).Clusters[0].Kubeconfig, "wait", "--for=condition=Ready", "clusterissuer/devenv", "--timeout=30s")
			}
			devenv(t, "check", "--name", name).wants(t, 0,
				"✓ dev@example.com is dev@example.com in main  (user dev@example.com, groups ["+name+":developers system:authenticated])",
				"✓ file@example.com is file@example.com in main", "✓ command@example.com is command@example.com in main",
				"✓ dev@example.com can create pods in demo", "✓ file@example.com cannot list pods in demo",
				"another key", "tampered", "another issuer", "e-mail of new@example.com not verified", ", 0 failed")
			file := write(t, "kubeconfig", must(t, "kubeconfig", "--name", name, "--user", "file@example.com").stdout)
			if out, err := kubectl(t, file, "auth", "whoami", "--output=jsonpath={.status.userInfo.groups}"); err != nil || out != `["`+name+`:others","system:authenticated"]` {
				t.Errorf("whoami: %s, %v", out, err)
			}
			devenv(t, "kubeconfig", "--name", name, "--flavor", "kubelogin").wants(t, 0, "--oidc-issuer-url="+p.issuer, "--certificate-authority="+statusOf(t, name).Issuer.CAFile)
			devenv(t, "doctor", "--name", name).wants(t, 0, "1 published", "its CA")
			devenv(t, "up", "--name", name, "--runtime", runtime, "--file", profile).wants(t, 0, "unchanged")
			devenv(t, "plan", "--name", name, "--runtime", runtime, "--file", profile).wants(t, 0, "is as the profile wants it")
			// what is not devenv's
			devenv(t, "users", "add", "--name", name, "x@example.com").wants(t, 2, "somebody else runs the issuer of environment", "hint: change them at "+p.issuer)
			devenv(t, "rotate", "keys", "--name", name).wants(t, 2, "its keys cannot be rotated from here")
			devenv(t, append(up, "--set", "spec.issuer.users[0].password=wrong")...).wants(t, 5, "the issuer rejected the login of dev@example.com: invalid_grant")
			devenv(t, append(up, "--set", "spec.issuer.users[1].token.file=/nowhere.jwt")...).wants(t, 5, "could not get a token of file@example.com from the file /nowhere.jwt")
			devenv(t, append(up, "--set", "spec.issuer.users[2].token.command=['false']")...).wants(t, 5, "could not get a token of command@example.com from the command false: exit status 1")

			expired := write(t, "expired.jwt", p.signed(t, "file@example.com", time.Now().Add(-time.Minute), "others"))
			devenv(t, append(up, "--set", "spec.issuer.users[1].token.file="+expired)...).wants(t, 5, "could not get a token of file@example.com from the file "+expired+": it expired at ")

			p.server.Close()
			devenv(t, "token", "--name", name).wants(t, 4, "hint: see whether the issuer answers: devenv doctor --name "+name)
			devenv(t, "doctor", "--name", name).wants(t, 5, "nothing answers on", "somebody else runs it")
			devenv(t, up...).wants(t, 3, "does not answer", "connection refused")
			must(t, "down", "--name", name)
		})
	}
}

// provider is an OpenID Connect provider with the paths of a Keycloak.
type provider struct {
	issuer, caFile string
	server         *httptest.Server
	key            jose.JSONWebKey
}

const realm = "/realms/demo"

func startProvider(t *testing.T, address string) *provider {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		IPAddresses: []net.IP{net.ParseIP(address)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{
		issuer: "https://" + listener.Addr().String() + realm,
		caFile: write(t, "provider.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}))),
		key:    jose.JSONWebKey{Key: private, KeyID: "theirs", Algorithm: "RS256", Use: "sig"},
	}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, status int, body any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
	mux.HandleFunc(realm+"/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{
			"issuer": p.issuer, "authorization_endpoint": p.issuer + "/protocol/auth", "token_endpoint": p.issuer + "/protocol/token", "jwks_uri": p.issuer + "/protocol/certs",
			"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
			"scopes_supported": []string{"openid", "email", "profile"},
		})
	})
	mux.HandleFunc(realm+"/protocol/certs", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{p.key.Public()}})
	})
	mux.HandleFunc(realm+"/protocol/token", func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		switch {
		case id != "kubernetes" || secret != "hush" || strings.Contains(r.FormValue("scope"), "groups"): // a scope that it does not have
			answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_request"})
		case r.FormValue("password") != "known":
			answer(w, http.StatusUnauthorized, map[string]string{"error": "invalid_grant", "error_description": "Invalid user credentials"})
		default:
			answer(w, http.StatusOK, map[string]string{"access_token": "x", "token_type": "bearer", "id_token": p.token(t, r.FormValue("username"), "developers")})
		}
	})
	p.server = httptest.NewUnstartedServer(mux)
	p.server.Listener.Close()
	p.server.Listener = listener
	p.server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: private}}}
	p.server.StartTLS()
	t.Cleanup(p.server.Close)
	return p
}

// token is a user's; that of new@example.com has an e-mail that is not verified.
func (p *provider) token(t *testing.T, email string, groups ...string) string {
	return p.signed(t, email, time.Now().Add(time.Hour), groups...)
}

func (p *provider) signed(t *testing.T, email string, until time.Time, groups ...string) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: p.key}, nil)
	if err != nil {
		t.Error(err)
		return ""
	}
	claims, _ := json.Marshal(map[string]any{
		"iss": p.issuer, "sub": email, "aud": "kubernetes", "iat": time.Now().Unix(), "exp": until.Unix(),
		"email": email, "email_verified": email != "new@example.com", "groups": groups,
	})
	signed, err := signer.Sign(claims)
	if err != nil {
		t.Error(err)
		return ""
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Error(err)
	}
	return text
}

func (p *provider) tokenFile(t *testing.T, email string, groups ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), email+".jwt")
	if err := os.WriteFile(file, []byte(p.token(t, email, groups...)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

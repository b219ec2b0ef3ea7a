package trust

import (
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"
)

func parse(t *testing.T, certPEM []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(certPEM)
	if block == nil {
		t.Fatal("no PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestAuthorityIsConstrainedToItsDomain(t *testing.T) {
	a, err := NewCA("devenv test", Domain("test.localhost"))
	if err != nil {
		t.Fatal(err)
	}
	for name, works := range map[string]bool{
		"dex.test.localhost":  true,
		"a.b.test.localhost":  true,
		"dex.other.localhost": false,
		"example.com":         false,
		"eviltest.localhost":  false,
	} {
		pair, err := a.ServerPair(time.Hour, name)
		if err != nil {
			t.Fatal(err)
		}
		_, err = parse(t, pair.CertPEM).Verify(x509.VerifyOptions{Roots: a.Pool(), DNSName: name})
		if (err == nil) != works {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPairsAreForOnePurpose(t *testing.T) {
	a, err := NewCA("devenv test", Anything)
	if err != nil {
		t.Fatal(err)
	}
	server, err := a.ServerPair(time.Hour, "grpc.dex")
	if err != nil {
		t.Fatal(err)
	}
	client, err := a.ClientPair(time.Hour, "devenv")
	if err != nil {
		t.Fatal(err)
	}
	asClient := x509.VerifyOptions{Roots: a.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := parse(t, server.CertPEM).Verify(asClient); err == nil {
		t.Error("a server's certificate passes for a client's")
	}
	if _, err := parse(t, client.CertPEM).Verify(asClient); err != nil {
		t.Error(err)
	}
}

func TestParseCA(t *testing.T) {
	a, err := NewCA("devenv test", Domain("test.localhost"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseCA(a.CertPEM, a.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := again.ServerPair(time.Hour, "dex.test.localhost")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parse(t, pair.CertPEM).Verify(x509.VerifyOptions{Roots: a.Pool()}); err != nil {
		t.Error(err)
	}
	if _, err := ParseCA(pair.CertPEM, pair.KeyPEM); err == nil || !strings.Contains(err.Error(), "cannot sign") {
		t.Errorf("a server's certificate passes for an authority: %v", err)
	}
	if _, err := ParseCA([]byte("x"), a.KeyPEM); err == nil {
		t.Error("nonsense passes for an authority")
	}
}

func TestFingerprintIsThatOfSha256sum(t *testing.T) {
	if got := Fingerprint([]byte("abc")); got != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Error(got)
	}
}

func TestSigned(t *testing.T) {
	ca, err := NewCA("ca", Anything)
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewCA("ca", Anything)
	if err != nil {
		t.Fatal(err)
	}
	pair := func(from *CA, lifetime time.Duration) []byte {
		made, err := from.ServerPair(lifetime, "dex.test")
		if err != nil {
			t.Fatal(err)
		}
		return made.CertPEM
	}
	for name, c := range map[string]struct {
		cert []byte
		host string
		want bool
	}{
		"good":            {pair(ca, 24*time.Hour), "dex.test", true},
		"another name":    {pair(ca, 24*time.Hour), "other.test", false},
		"expired":         {pair(ca, time.Second), "dex.test", false}, // from a minute ago
		"about to expire": {pair(ca, 30*time.Minute), "dex.test", false},
		"of another CA":   {pair(other, 24*time.Hour), "dex.test", false},
		"no certificate":  {[]byte("none"), "dex.test", false},
		"nothing":         {nil, "dex.test", false},
	} {
		if got := ca.Signed(c.cert, c.host, time.Hour); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

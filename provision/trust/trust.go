// Package trust makes the certificates of an environment: its own certificate
// authority (CA), constrained to its own names, and what that CA signs.
package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// Lifetime of a CA. Environments live for days; whoever keeps one
// longer than this recreates it.
const Lifetime = 5 * 365 * 24 * time.Hour

// CA signs certificates.
type CA struct {
	// CertPEM and KeyPEM are the CA itself; KeyPEM is a secret.
	CertPEM, KeyPEM []byte
	cert            *x509.Certificate
	key             crypto.Signer
}

// Constraint is what a CA is allowed to sign for (RFC 5280, section 4.2.1.10), so
// that somebody who trusts it trusts it for that alone.
type Constraint struct{ permitted, excluded []string }

// Anything is no constraint: for a CA that nobody is asked to trust.
var Anything = Constraint{}

// Domain allows a domain and what is below it.
func Domain(domain string) Constraint { return Constraint{permitted: []string{domain}} }

// Host allows one name, and nothing below it.
func Host(name string) Constraint {
	return Constraint{permitted: []string{name}, excluded: []string{"." + name}}
}

// NewCA makes a CA.
func NewCA(name string, c Constraint) (*CA, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if len(c.permitted) > 0 {
		template.PermittedDNSDomainsCritical = true
		template.PermittedDNSDomains = c.permitted
		template.ExcludedDNSDomains = c.excluded
		template.ExcludedIPRanges = []*net.IPNet{
			{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
			{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
		}
	}
	certPEM, keyPEM, err := sign(template, nil, nil, Lifetime)
	if err != nil {
		return nil, fmt.Errorf("could not make the certificate authority %q: %w", name, err)
	}
	return ParseCA(certPEM, keyPEM)
}

// ParseCA reads a CA from PEM.
func ParseCA(certPEM, keyPEM []byte) (*CA, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("could not read the certificate authority: %w", err)
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("could not read the certificate authority: %w", err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !cert.IsCA {
		return nil, errors.New("could not read the certificate authority: it cannot sign")
	}
	return &CA{CertPEM: certPEM, KeyPEM: keyPEM, cert: cert, key: key}, nil
}

// Pool holds the CA alone.
func (a *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Pair is a certificate and its key, PEM.
type Pair struct {
	CertPEM, KeyPEM []byte
}

// ServerPair signs a server certificate for DNS names and IP addresses.
func (a *CA) ServerPair(lifetime time.Duration, names ...string) (Pair, error) {
	return a.pair(serverTemplate(names), lifetime)
}

// MemberPair signs a certificate for a server that is its peers' client too.
func (a *CA) MemberPair(lifetime time.Duration, names ...string) (Pair, error) {
	template := serverTemplate(names)
	template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	return a.pair(template, lifetime)
}

func serverTemplate(names []string) *x509.Certificate {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: names[0]},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return template
}

// ClientPair signs a client certificate; for an API server the name is the
// user's and the organizations are their groups.
func (a *CA) ClientPair(lifetime time.Duration, name string, organizations ...string) (Pair, error) {
	return a.pair(&x509.Certificate{
		Subject:     pkix.Name{CommonName: name, Organization: organizations},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, lifetime)
}

func (a *CA) pair(template *x509.Certificate, lifetime time.Duration) (Pair, error) {
	certPEM, keyPEM, err := sign(template, a.cert, a.key, lifetime)
	if err != nil {
		return Pair{}, fmt.Errorf("could not sign a certificate for %q: %w", template.Subject.CommonName, err)
	}
	return Pair{CertPEM: certPEM, KeyPEM: keyPEM}, nil
}

// Signed says whether a server certificate, PEM, is one that this CA signed for a
// DNS name, and valid now and for as long as left.
func (a *CA) Signed(certPEM []byte, name string, left time.Duration) bool {
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return false
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil || time.Until(cert.NotAfter) <= left {
		return false
	}
	_, err = cert.Verify(x509.VerifyOptions{Roots: a.Pool(), DNSName: name})
	return err == nil
}

// sign makes a key and a certificate for it, signed by parent or, without one,
// by itself.
func sign(template, parent *x509.Certificate, signer crypto.Signer, lifetime time.Duration) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, nil, err
	}
	template.NotBefore = time.Now().Add(-time.Minute) // clocks differ a little
	template.NotAfter = template.NotBefore.Add(lifetime)
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), nil
}

// Fingerprint is the SHA-256 of PEM text, in hex: short enough for an
// annotation, and what sha256sum prints for the file.
func Fingerprint(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

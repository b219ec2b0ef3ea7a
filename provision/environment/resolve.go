package environment

import (
	"slices"
	"strings"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/state"
)

// ownCA stays in trust until the environment's CA is there.
const ownCA = "${ca}"

// Resolve is record.Resolve, with values in the places of the placeholders in
// what clusters trust: proofs and kubeconfigs are made from that. ${ca} stays.
func Resolve(home state.Home, name string, runtime record.Runtime, profile *profiles.Environment, old *record.Record) (*record.Record, error) {
	r, err := record.Resolve(home, name, runtime, profile, old)
	if err != nil {
		return nil, err
	}
	e := New(home, r, runtime)
	value := func(name string) (string, error) {
		if name == "ca" {
			return ownCA, nil
		}
		return e.Value(name)
	}
	r.Profile.Spec.Clusters = slices.Clone(r.Profile.Spec.Clusters)
	for i := range r.Profile.Spec.Clusters {
		c := &r.Profile.Spec.Clusters[i]
		if len(profiles.UsedPlaceholders(c.Trust)) > 0 {
			if r.Trust == nil {
				r.Trust = map[string]profiles.Trust{}
			}
			r.Trust[c.Name] = c.Trust
		}
		if c.Trust, err = profiles.FillAll(c.Trust, value); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// TrustConfiguration is what a cluster trusts by a file, with the environment's CA
// where the profile has ${ca}.
func (e *Environment) TrustConfiguration(c profiles.Cluster) (*profiles.AuthenticationConfiguration, error) {
	filled := *c.Trust.Configuration
	filled.JWT = slices.Clone(filled.JWT)
	for i := range filled.JWT {
		issuer := &filled.JWT[i].Issuer
		if !strings.Contains(issuer.CertificateAuthority, ownCA) {
			continue
		}
		ca, err := e.Dir.Read("ca.crt")
		if err != nil {
			return nil, err
		}
		issuer.CertificateAuthority = strings.ReplaceAll(issuer.CertificateAuthority, ownCA, string(ca))
	}
	return &filled, nil
}

package steps

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/plan"
	"github.com/devenv-oidc/devenv/provision/record"
)

// WithExternalIssuer is a plan for an issuer that somebody else runs: without the
// steps for Dex, and with one that asks the issuer, before anything is made
// that would trust it.
func WithExternalIssuer(e *environment.Environment, steps []plan.Step, forDex ...string) []plan.Step {
	steps = plan.Without(steps, append(forDex, "issuer")...)
	ask := plan.NewStep("issuer", "Ask issuer "+e.Issuer(), plan.Needs("trust"), askExternalIssuer(e))
	var nodes []string
	for _, c := range e.Spec().Clusters {
		nodes = append(nodes, ID(e, "node", c.Name))
	}
	for i := range steps {
		if slices.Contains(nodes, steps[i].ID) {
			steps[i].Needs = append(plan.Needs("issuer"), steps[i].Needs...)
		}
	}
	return append([]plan.Step{ask}, steps...)
}

// externalLimit is how long an external issuer may need: it runs already.
const externalLimit = 5 * time.Second

// askExternalIssuer makes sure that an issuer answers and is who it should be.
func askExternalIssuer(e *environment.Environment) plan.Ensure {
	return func(ctx context.Context) (bool, error) {
		client, err := e.IssuerClient()
		if err != nil {
			return false, err
		}
		var final error
		limited, cancel := context.WithTimeoutCause(ctx, externalLimit, fmt.Errorf("the limit of %s was reached", externalLimit))
		defer cancel()
		err = kube.Poll(limited, "its discovery document", func(ctx context.Context) error {
			err := identity.Discover(ctx, client, e.Issuer())
			if unknown, invalid := (x509.UnknownAuthorityError{}), (x509.CertificateInvalidError{}); errors.As(err, &unknown) || errors.As(err, &invalid) || errors.As(err, &x509.HostnameError{}) {
				final = failure.New(failure.Prerequisite, fmt.Errorf("the certificate of the issuer %s does not verify: %w", e.Issuer(), err),
					"name the CA that signed it in the profile: spec.issuer.caFile")
				return nil
			}
			return err
		})
		if err != nil && ctx.Err() == nil {
			err = failure.New(failure.Prerequisite, fmt.Errorf("the issuer %s does not answer: %w", e.Issuer(), err),
				"start it, or correct spec.issuer.url in the profile", "see what it says: devenv doctor"+record.NameFlag(e.Name()))
		}
		return false, errors.Join(err, final)
	}
}

package steps

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/proofs"
)

// RotateCertificates renews Dex's serving certificate as its expiry would, and
// proves that nobody notices: the same CA verifies it, every cluster accepts new
// tokens, and those from before. renew has it issued anew, and need not wait; say
// is told what was seen.
func RotateCertificates(ctx context.Context, e *environment.Environment, runtime Runtime, renew func(context.Context) error, say func(format string, args ...any)) error {
	held, err := proofs.Hold(ctx, e, runtime)
	if err != nil {
		return err
	}
	old, _, err := served(ctx, e)
	if err != nil {
		return err
	}
	if err := renew(ctx); err != nil {
		return err
	}
	err = kube.Poll(ctx, "Dex to serve another certificate than "+old, func(ctx context.Context) error {
		serial, expires, err := served(ctx, e)
		if err == nil && serial == old {
			err = errors.New("it still serves that")
		}
		if err == nil {
			say("Dex serves the certificate %s, which expires on %s; the earlier one was %s", serial, expires.Format(time.DateOnly), old)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, c := range e.Spec().Clusters {
		if _, err := WaitForToken(e, c, runtime)(ctx); err != nil {
			return err
		}
	}
	for _, h := range held {
		if err := h.StillAccepted(ctx); err != nil {
			return err
		}
	}
	say("the environment's CA verifies it; every cluster accepts new tokens, and those from before")
	return nil
}

// served is the serial number, in hex, and the expiry of the certificate that
// the issuer serves, verified.
func served(ctx context.Context, e *environment.Environment) (serial string, expires time.Time, err error) {
	client, err := e.IssuerClient()
	if err != nil {
		return "", time.Time{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, e.Issuer()+"/healthz", nil)
	if err != nil {
		return "", time.Time{}, err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", time.Time{}, err
	}
	response.Body.Close()
	leaf := response.TLS.PeerCertificates[0]
	return leaf.SerialNumber.Text(16), leaf.NotAfter, nil
}

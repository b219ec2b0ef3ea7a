package proofs

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/check"
	"github.com/devenv-oidc/devenv/provision/connection"
	"github.com/devenv-oidc/devenv/provision/jwt"
	"github.com/devenv-oidc/devenv/provision/kube"
)

// connection proves a connection by its kubeconfig alone: who it is, its
// permissions, and that tokens for another audience or of another service
// account are rejected or denied.
func (s *suite) connection(ctx context.Context, c profiles.Connection) ([]check.Result, error) {
	from, err := s.Admin(c.From)
	if err != nil {
		return nil, err
	}
	to, err := s.Admin(c.To)
	if err != nil {
		return nil, err
	}
	there := check.Result{Group: "connection", Name: fmt.Sprintf("%s → %s: the kubeconfig in Secret %s/%s", c.From, c.To, c.Namespace, c.Name)}
	kubeconfig, token, expires, err := readConnection(ctx, from, c)
	if err != nil {
		there.Detail = err.Error()
		return []check.Result{there}, ctx.Err()
	}
	there.OK, there.Detail = true, "its token ends at "+expires.UTC().Format("2006-01-02 15:04:05 UTC")
	target := &check.Cluster{
		Name: c.To, Server: rest.AnonymousClientConfig(to.Config),
		Log: func(ctx context.Context) (string, error) { return s.runtime.APIServerLog(ctx, c.To) },
		Kubectl: func(ctx context.Context, _ string, args ...string) (string, error) {
			return s.runtime.Kubectl(ctx, c.From, kubeconfig, args...)
		},
	}
	self := check.Login{Email: c.Name, Token: token, AnyGroups: true, Username: s.connectionUser(c, c.Name)}
	permissions := profiles.Expectation{Can: c.Can, Cannot: c.Cannot}

	other, otherErr := connection.Token(ctx, from, c.Namespace, c.Name, "somebody-else", c.Lifetime())
	stranger, strangerErr := connection.Token(ctx, from, c.Namespace, "default", c.Audience, c.Lifetime())
	if err := errors.Join(otherErr, strangerErr); err != nil {
		there.OK, there.Detail = false, err.Error()
		return []check.Result{there}, ctx.Err()
	}
	unbound := check.Login{Email: "another service account", Token: stranger, AnyGroups: true, Username: s.connectionUser(c, "default")}

	results := check.Concurrently([]proof{
		func() []check.Result {
			return []check.Result{target.Identity(ctx, self), target.KubectlIdentity(ctx, self), target.KubectlVersion(ctx, self)}
		},
		func() []check.Result { return target.Access(ctx, self, permissions) },
		func() []check.Result { return target.KubectlAccess(ctx, self, permissions) },
		func() []check.Result { return target.Access(ctx, unbound, profiles.Expectation{Cannot: c.Can}) },
		func() []check.Result {
			return target.Rejections(ctx, []check.Rejection{{
				Name: "a token of " + c.Name + " for another audience", Token: other, Reason: regexp.MustCompile(`expected audience .* got \[[^\]]*\]`),
			}})
		},
	})
	return append([]check.Result{there}, prefixed(c.From+" → "+c.To, results)...), ctx.Err()
}

// readConnection reads what the Secret holds.
func readConnection(ctx context.Context, from *kube.Client, c profiles.Connection) (kubeconfig []byte, token string, expires time.Time, err error) {
	if kubeconfig, err = connection.Kubeconfig(ctx, from, c); err != nil {
		return nil, "", time.Time{}, err
	}
	if token, err = connection.Bearer(kubeconfig); err != nil {
		return nil, "", time.Time{}, err
	}
	expires, err = jwt.Expiry(token)
	return kubeconfig, token, expires, err
}

// connectionUser is the name that the cluster that is reached gives a service
// account of the connection's namespace; "" where an expression makes it.
func (s *suite) connectionUser(c profiles.Connection, serviceAccount string) string {
	trust := s.Record.Profile.Cluster(c.To).Trust.Cluster(c.From, c.Audience)
	if trust.UsernameClaim != "sub" {
		return ""
	}
	c.Name = serviceAccount
	return strings.TrimPrefix(trust.UsernamePrefix, "-") + c.Subject()
}

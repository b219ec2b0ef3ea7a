package provision

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/check"
	"github.com/devenv-oidc/devenv/provision/connection"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/jwt"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/state"
)

// Rotate asks for new tokens for the kubeconfigs that connections keep in
// Secrets: those that are named, or all. It returns their names. Tokens that
// were given out before stay good until they end.
func Rotate(ctx context.Context, home state.Home, name string, connections ...string) (rotated []string, err error) {
	unlock, err := lock(ctx, home, name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	e, err := Open(home, name)
	if err != nil {
		return nil, err
	}
	all := e.record.Profile.Spec.Connections
	for _, wanted := range connections {
		if !slices.ContainsFunc(all, func(c profiles.Connection) bool { return c.Name == wanted }) {
			return nil, failure.Newf(failure.Usage, "there is no connection %q in environment %q", wanted, name).
				Hint("see the profile's spec.connections: devenv status%s", nameFlag(name))
		}
	}
	for _, c := range all {
		if len(connections) > 0 && !slices.Contains(connections, c.Name) {
			continue
		}
		if _, err := e.ensureConnection(ctx, c, true); err != nil {
			return rotated, failure.New(failure.Provisioning, err, "see whether it runs: devenv status"+nameFlag(name))
		}
		rotated = append(rotated, c.Name)
	}
	return rotated, nil
}

// ensureConnection makes one cluster reach another.
func (e *Environment) ensureConnection(ctx context.Context, c profiles.Connection, rotate bool) (changed bool, err error) {
	from, err := e.admin(c.From)
	if err != nil {
		return false, err
	}
	to, err := e.admin(c.To)
	if err != nil {
		return false, err
	}
	filled, err := fill(e, c)
	if err != nil {
		return false, err
	}
	return connection.Ensure(ctx, from, connection.Connection{
		Connection: filled, Server: e.runtime.server(*e.record.Profile.Cluster(c.To)), CA: to.Config.CAData,
	}, rotate)
}

// checkConnection proves a connection by its kubeconfig alone: who it is, what
// it may, and that tokens for others and of others are refused.
func (e *Environment) checkConnection(ctx context.Context, c profiles.Connection) ([]check.Result, error) {
	from, err := e.admin(c.From)
	if err != nil {
		return nil, err
	}
	to, err := e.admin(c.To)
	if err != nil {
		return nil, err
	}
	there := check.Result{Group: "connection", Name: fmt.Sprintf("%s → %s: the kubeconfig in Secret %s/%s", c.From, c.To, c.Namespace, c.Name)}
	kubeconfig, token, expires, err := e.readConnection(ctx, from, c)
	if err != nil {
		there.Detail = err.Error()
		return []check.Result{there}, ctx.Err()
	}
	there.OK, there.Detail = true, "its token ends at "+expires.UTC().Format("2006-01-02 15:04:05 UTC")
	home := *e.record.Profile.Cluster(c.From)
	target := &check.Cluster{
		Name: c.To, Server: rest.AnonymousClientConfig(to.Config), Log: e.cluster(*e.record.Profile.Cluster(c.To)).APIServerLog,
		Kubectl: func(ctx context.Context, _ string, args ...string) (string, error) {
			return e.runtime.kubectl(ctx, home, kubeconfig, args...)
		},
	}
	self := check.Login{Email: c.Name, Token: token, AnyGroups: true, Username: e.connectionUser(c, c.Name)}
	rights := profiles.Expectation{Can: c.Can, Cannot: c.Cannot}

	other, otherErr := connection.Token(ctx, from, c.Namespace, c.Name, "somebody-else", c.Lifetime())
	stranger, strangerErr := connection.Token(ctx, from, c.Namespace, "default", c.Audience, c.Lifetime())
	if err := errors.Join(otherErr, strangerErr); err != nil {
		there.OK, there.Detail = false, err.Error()
		return []check.Result{there}, ctx.Err()
	}
	unbound := check.Login{Email: "another service account", Token: stranger, AnyGroups: true, Username: e.connectionUser(c, "default")}

	results := check.Concurrently([]proof{
		func() []check.Result {
			return []check.Result{target.Identity(ctx, self), target.KubectlIdentity(ctx, self), target.KubectlVersion(ctx, self)}
		},
		func() []check.Result { return target.Access(ctx, self, rights) },
		func() []check.Result { return target.KubectlAccess(ctx, self, rights) },
		func() []check.Result { return target.Access(ctx, unbound, profiles.Expectation{Cannot: c.Can}) },
		func() []check.Result {
			return target.Refusals(ctx, []check.Refusal{{
				Name: "a token of " + c.Name + " for another audience", Token: other, Reason: regexp.MustCompile(`expected audience .* got \[[^\]]*\]`),
			}})
		},
	})
	return append([]check.Result{there}, named(c.From+" → "+c.To, results)...), ctx.Err()
}

// readConnection reads what the Secret holds.
func (e *Environment) readConnection(ctx context.Context, from *kube.Client, c profiles.Connection) (kubeconfig []byte, token string, expires time.Time, err error) {
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
func (e *Environment) connectionUser(c profiles.Connection, serviceAccount string) string {
	trust := e.record.Profile.Cluster(c.To).Trust.Cluster(c.From, c.Audience)
	if trust.UsernameClaim != "sub" {
		return ""
	}
	c.Name = serviceAccount
	return strings.TrimPrefix(trust.UsernamePrefix, "-") + c.Subject()
}

// named says which cluster results are about.
func named(where string, results []check.Result) []check.Result {
	for i := range results {
		results[i].Name = fmt.Sprintf("%s: %s", where, results[i].Name)
	}
	return results
}

// in says that results are about a cluster, where it is not the first.
func (e *Environment) in(c profiles.Cluster, results ...check.Result) []check.Result {
	if c.Name == e.first().Name {
		return results
	}
	return named(c.Name, results)
}

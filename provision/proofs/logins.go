package proofs

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/check"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/jwt"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/session"
)

// tokenLimit is how long an API server may need for its first look at an issuer
// that answers: it tries every ten seconds, for half a minute each.
const tokenLimit = 2 * time.Minute

// FirstToken waits until a cluster that trusts Dex accepts a token: one of the
// first user that it can accept, since an unverified e-mail never is.
//
// The API server looks for the issuer every 10 s until it finds it (k8s.io/
// apiserver, plugin/pkg/authenticator/token/oidc), and no endpoint of it says
// that it has: only a token tells.
func FirstToken(ctx context.Context, e *environment.Environment, runtime Runtime, c profiles.Cluster) error {
	s := &suite{e, runtime, Options{}}
	users := s.acceptedUsers(c)
	if len(users) == 0 { // it does not trust Dex
		return nil
	}
	login, err := s.patientLogin(ctx, c, users[0])
	if err != nil {
		return err
	}
	targets, err := s.apiServers(ctx, c)
	if err != nil {
		return err
	}
	for _, target := range targets {
		var unknown error
		limited, cancel := context.WithTimeoutCause(ctx, tokenLimit, fmt.Errorf("the limit of %s was reached", tokenLimit))
		defer cancel()
		began := time.Now().Add(-time.Second) // the log's clock is the node's
		err = kube.Poll(limited, "the API server to accept a token of "+login.Email, func(ctx context.Context) error {
			err := target.Accepts(ctx, login)
			if apierrors.IsUnauthorized(err) && target.SaysUnknownKey(ctx, began) {
				unknown = &UnknownKeyError{Cluster: c.Name}
				return nil // nothing to wait for: it asks for the keys every ten minutes
			}
			return err
		})
		if err != nil {
			if why := target.LastRejection(ctx, began); why != "" {
				err = fmt.Errorf("%w; its log says: %s", err, why)
			}
		}
		if err := errors.Join(err, unknown); err != nil {
			return err
		}
	}
	return nil
}

// apiServers are those of a cluster, each by itself: behind a load balancer one
// would answer for all.
func (s *suite) apiServers(ctx context.Context, c profiles.Cluster) ([]*check.Cluster, error) {
	target, err := s.target(c)
	if err != nil {
		return nil, err
	}
	servers, err := s.runtime.APIServers(ctx, c.Name)
	if err != nil || len(servers) == 0 {
		return []*check.Cluster{target}, err
	}
	var each []*check.Cluster
	for _, url := range servers {
		one := *target
		one.Server = rest.CopyConfig(target.Server)
		one.Server.Host = url
		each = append(each, &one)
	}
	return each, nil
}

// loginLimit is how long Dex may be away: it restarts when its API server did.
const loginLimit = 30 * time.Second

// patientLogin is login, again while Dex does not answer; what Dex rejects is
// final.
func (s *suite) patientLogin(ctx context.Context, c profiles.Cluster, u profiles.User) (login check.Login, err error) {
	var final error
	limited, cancel := context.WithTimeoutCause(ctx, loginLimit, fmt.Errorf("the limit of %s was reached", loginLimit))
	defer cancel()
	err = kube.Poll(limited, "Dex to issue a token for "+u.Email, func(ctx context.Context) error {
		var err error
		if login, err = s.login(ctx, c, u); err != nil && failure.ClassOf(err) != failure.Provisioning {
			final = err
			return nil
		}
		return err
	})
	return login, errors.Join(err, final)
}

// UnknownKeyError says that a cluster's API server does not know the key by
// which Dex signs.
type UnknownKeyError struct{ Cluster string }

func (e *UnknownKeyError) Error() string {
	return fmt.Sprintf("the API server of cluster %q does not know the key that Dex signs with", e.Cluster)
}

// login logs a user in with the client whose tokens a cluster accepts.
func (s *suite) login(ctx context.Context, c profiles.Cluster, u profiles.User) (check.Login, error) {
	token, err := session.Token(ctx, s.Environment, session.TokenRequest{User: u.Email, Client: c.Trust.Provider().ClientID})
	if err != nil {
		return check.Login{}, err
	}
	claims, err := jwt.Claims(token)
	if err != nil {
		return check.Login{}, err
	}
	return s.expectedLogin(c, u, claims, token)
}

// expectedLogin is the user name and groups that the API server must give a
// user. The results of CEL expressions are known only where the profile has
// them.
func (s *suite) expectedLogin(c profiles.Cluster, u profiles.User, claims map[string]any, token string) (check.Login, error) {
	trust := c.Trust.Provider()
	login := check.Login{Email: u.Email, Token: token, Claims: claims, AnyGroups: trust.GroupsExpression != ""}
	if trust.GroupsClaim == "groups" {
		for _, g := range u.Groups {
			login.Groups = append(login.Groups, trust.GroupsPrefix+g)
		}
	}
	for _, x := range s.Spec().Expectations {
		if x.User == u.Email && x.Cluster == c.Name && x.Username != "" {
			login.Username = x.Username
			return login, nil
		}
	}
	if trust.UsernameExpression != "" {
		return login, nil
	}
	name, ok := claims[trust.UsernameClaim].(string)
	if !ok {
		return login, fmt.Errorf("the token of %s has no claim %q", u.Email, trust.UsernameClaim)
	}
	switch {
	case trust.UsernamePrefix == "-":
	case trust.UsernamePrefix != "":
		name = trust.UsernamePrefix + name
	case trust.UsernameClaim != "email":
		name = s.Issuer() + "#" + name
	}
	login.Username = name
	return login, nil
}

package proofs

import (
	"context"
	"fmt"
	"os/exec"
	goruntime "runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/access"
	"github.com/devenv-oidc/devenv/provision/check"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/session"
	"github.com/devenv-oidc/devenv/provision/trust"
)

// cluster proves one cluster, as far as it trusts Dex.
func (s *suite) cluster(ctx context.Context, c profiles.Cluster) ([]check.Result, error) {
	accepted := s.acceptedUsers(c)
	if len(accepted) == 0 {
		return nil, nil
	}
	target, err := s.target(c)
	if err != nil {
		return nil, err
	}
	s.removeLeftovers(ctx, c)
	logins, err := s.logins(ctx, c)
	if err != nil {
		return nil, err
	}
	rejections, err := s.rejections(ctx, c, logins)
	if err != nil {
		return nil, err
	}
	var identity, permissions, kubectl, trials []proof
	people := s.people(c)
	for _, u := range accepted {
		identity = append(identity, func() []check.Result { return []check.Result{target.Identity(ctx, logins[u.Email])} })
	}
	identity = append(identity, func() []check.Result { return s.byClass(c, people) })
	for _, x := range s.Spec().Expectations {
		if x.Cluster != c.Name {
			continue
		}
		login := logins[x.User]
		identity = append(identity, func() []check.Result { return check.Claims(login, s.Issuer(), x) })
		permissions = append(permissions, func() []check.Result { return target.Access(ctx, login, x) })
		kubectl = append(kubectl, func() []check.Result { return target.KubectlAccess(ctx, login, x) })
		if x.Trial != nil {
			trials = append(trials, func() []check.Result { return s.trial(ctx, target, login, x) })
		}
	}
	first := logins[accepted[0].Email]
	kubectl = append(kubectl, func() []check.Result { return []check.Result{target.KubectlIdentity(ctx, first)} })
	results := check.Concurrently([]proof{
		func() []check.Result { return check.Concurrently(append(identity, permissions...)) },
		func() []check.Result { // the first fills kubectl's cache for the others
			return append(kubectl[0](), check.Concurrently(kubectl[1:])...)
		},
		func() []check.Result { return target.Rejections(ctx, rejections) },
	})
	for _, trial := range trials { // after what holds without them, and one at a time
		results = append(results, trial()...)
	}
	return s.about(c, results...), ctx.Err()
}

// removeLeftovers deletes what a check that was killed left on a cluster: the
// bindings of its trials above all, which would make others of its proofs fail.
// Where it cannot be deleted, those proofs say so.
func (s *suite) removeLeftovers(ctx context.Context, c profiles.Cluster) {
	admin, err := s.Admin(c.Name)
	if err != nil {
		return
	}
	for _, x := range s.Spec().Expectations {
		if x.Cluster == c.Name && x.Trial != nil {
			_ = access.Unbind(ctx, admin, trialBinding(x, ""))
		}
	}
	if s.Runtime.Pods {
		_ = check.RemoveLeftovers(ctx, admin, time.Now())
	}
}

// trialBinding is what a trial binds to a user, by the name that the API server
// knows.
func trialBinding(x profiles.Expectation, username string) profiles.Binding {
	return profiles.Binding{
		Name: "devenv-trial-" + trust.Fingerprint([]byte(x.User + x.Trial.ClusterRole + x.Trial.Namespace))[:10], ClusterRole: x.Trial.ClusterRole,
		Namespace: x.Trial.Namespace, Users: []string{username},
	}
}

// trial proves what a binding changes for a user.
func (s *suite) trial(ctx context.Context, target *check.Cluster, l check.Login, x profiles.Expectation) []check.Result {
	binding := trialBinding(x, l.Username)
	admin, err := s.Admin(x.Cluster)
	if err != nil {
		return []check.Result{{Group: "trial", Name: l.Email + " with " + x.Trial.ClusterRole, Detail: err.Error()}}
	}
	return target.Trial(ctx, l, *x.Trial,
		func(ctx context.Context) error { return access.Bind(ctx, admin, binding) },
		func(ctx context.Context) error { return access.Unbind(ctx, admin, binding) })
}

// target is a cluster as package check sees it: without any credentials.
func (s *suite) target(c profiles.Cluster) (*check.Cluster, error) {
	admin, err := s.Admin(c.Name)
	if err != nil {
		return nil, err
	}
	return &check.Cluster{
		Name: c.Name, Server: rest.AnonymousClientConfig(admin.Config),
		Log: func(ctx context.Context) (string, error) { return s.runtime.APIServerLog(ctx, c.Name) },
		Kubectl: func(ctx context.Context, token string, args ...string) (string, error) {
			return s.kubectl(ctx, c, token, args...)
		},
	}, nil
}

// kubectl runs the real kubectl with a kubeconfig that holds a token: the
// host's, or where there is none the runtime's own.
func (s *suite) kubectl(ctx context.Context, c profiles.Cluster, token string, args ...string) (string, error) {
	config, err := session.TokenKubeconfig(s.Environment, c, "user", token)
	if err != nil {
		return "", err
	}
	text, err := clientcmd.Write(*config)
	if err != nil {
		return "", err
	}
	path, err := exec.LookPath("kubectl")
	if err != nil {
		return s.runtime.Kubectl(ctx, c.Name, text, append([]string{"--server=" + s.Server(c.Name)}, args...)...)
	}
	return kube.Kubectl(ctx, path, string(s.Dir), text, args...)
}

// acceptedUsers are those whose tokens a cluster accepts: where the user name
// is the e-mail, it must be verified. Where Dex is trusted there is at least
// one, or the profile would not be valid; elsewhere there is none.
func (s *suite) acceptedUsers(c profiles.Cluster) []profiles.User {
	var accepted []profiles.User
	if c.Trust.Provider().ClientID == "" {
		return nil
	}
	for _, u := range s.people(c) {
		if *u.EmailVerified || !c.Trust.Provider().NeedsVerified() {
			accepted = append(accepted, u)
		}
	}
	return accepted
}

// logins logs users in, also those whom the cluster must reject: as many at a time
// as this machine has processors, since Dex spends its time with bcrypt.
func (s *suite) logins(ctx context.Context, c profiles.Cluster) (map[string]check.Login, error) {
	var mu sync.Mutex
	logins := map[string]check.Login{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(goruntime.GOMAXPROCS(0))
	for _, u := range s.people(c) {
		group.Go(func() error {
			login, err := s.login(ctx, c, u)
			if err != nil {
				return fmt.Errorf("could not log %s in: %w", u.Email, err)
			}
			mu.Lock()
			defer mu.Unlock()
			logins[u.Email] = login
			return nil
		})
	}
	return logins, group.Wait()
}

package provision

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/access"
	"github.com/devenv-oidc/devenv/provision/check"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/trust"
)

func (e *Environment) ensureProof(ctx context.Context) (changed bool, err error) {
	report, err := e.check(ctx)
	if err != nil {
		return false, err
	}
	return false, e.CheckFailure(report)
}

// Check proves the environment. A proof that fails is in the report; the error
// is for what kept the check itself from being made. Nobody else may work on an
// environment while trials change its bindings.
func (e *Environment) Check(ctx context.Context) (*check.Report, error) {
	if slices.ContainsFunc(e.record.Profile.Spec.Expectations, func(x profiles.Expectation) bool { return x.Trial != nil }) {
		unlock, err := lock(ctx, e.home, e.record.Name)
		if err != nil {
			return nil, err
		}
		defer unlock()
	}
	return e.check(ctx)
}

// check is Check by who holds the lock.
func (e *Environment) check(ctx context.Context) (*check.Report, error) {
	if err := e.runtime.find(ctx); err != nil {
		return nil, err
	}
	proofs, err := e.runtime.podProofs(ctx)
	if err != nil {
		return nil, err
	}
	spec := e.record.Profile.Spec
	failed := make([]error, len(spec.Clusters)+len(spec.Connections))
	for i, c := range spec.Clusters {
		proofs = append(proofs, func() (results []check.Result) {
			results, failed[i] = e.checkOne(ctx, c)
			return results
		})
	}
	for i, c := range spec.Connections {
		proofs = append(proofs, func() (results []check.Result) {
			results, failed[len(spec.Clusters)+i] = e.checkConnection(ctx, c)
			return results
		})
	}
	report := &check.Report{Results: check.Concurrently(proofs)}
	if err := errors.Join(append(failed, ctx.Err())...); err != nil {
		return nil, err
	}
	return report, nil
}

// proof is a part of the check.
type proof = func() []check.Result

// checkOne proves one cluster, as far as it trusts Dex.
func (e *Environment) checkOne(ctx context.Context, c profiles.Cluster) ([]check.Result, error) {
	if c.Trust.Dex().ClientID == "" {
		return nil, nil
	}
	target, err := e.checkCluster(c)
	if err != nil {
		return nil, err
	}
	target.Kubectl = func(ctx context.Context, token string, args ...string) (string, error) {
		return e.kubectl(ctx, c, token, args...)
	}
	logins := map[string]check.Login{}
	for _, u := range e.record.Profile.Spec.Dex.Users {
		login, err := e.login(ctx, c, u)
		if err != nil {
			return nil, fmt.Errorf("could not log %s in: %w", u.Email, err)
		}
		logins[u.Email] = login
	}
	refusals, err := e.refusals(ctx, c, logins)
	if err != nil {
		return nil, err
	}
	var identities, rights, kubectl, trials []proof
	for _, u := range e.acceptedUsers(c) {
		identities = append(identities, func() []check.Result { return []check.Result{target.Identity(ctx, logins[u.Email])} })
	}
	for _, x := range e.record.Profile.Spec.Expectations {
		if x.Cluster != c.Name {
			continue
		}
		identities = append(identities, func() []check.Result { return check.Claims(logins[x.User], e.Issuer(), x) })
		rights = append(rights, func() []check.Result { return target.Access(ctx, logins[x.User], x) })
		kubectl = append(kubectl, func() []check.Result { return target.KubectlAccess(ctx, logins[x.User], x) })
		if x.Trial != nil {
			trials = append(trials, func() []check.Result { return e.trial(ctx, target, logins[x.User], x) })
		}
	}
	first := e.acceptedUsers(c)[0]
	kubectl = append(kubectl, func() []check.Result { return []check.Result{target.KubectlIdentity(ctx, logins[first.Email])} })
	results := check.Concurrently([]proof{
		func() []check.Result { return check.Concurrently(append(identities, rights...)) },
		func() []check.Result { return check.Concurrently(kubectl) },
		func() []check.Result { return target.Refusals(ctx, refusals) },
	})
	for _, trial := range trials { // after what the expectations say without them, and one at a time
		results = append(results, trial()...)
	}
	return e.in(c, results...), ctx.Err()
}

// trial proves what a binding changes for a user.
func (e *Environment) trial(ctx context.Context, target *check.Cluster, l check.Login, x profiles.Expectation) []check.Result {
	binding := profiles.Binding{
		Name: "devenv-trial-" + trust.Fingerprint([]byte(l.Email + x.Trial.ClusterRole + x.Trial.Namespace))[:10], ClusterRole: x.Trial.ClusterRole,
		Namespace: x.Trial.Namespace, Users: []string{l.Username},
	}
	admin, err := e.admin(x.Cluster)
	if err != nil {
		return []check.Result{{Group: "trial", Name: l.Email + " with " + x.Trial.ClusterRole, Detail: err.Error()}}
	}
	return target.Trial(ctx, l, *x.Trial,
		func(ctx context.Context) error { return access.Bind(ctx, admin, binding) },
		func(ctx context.Context) error { return access.Unbind(ctx, admin, binding) })
}

// acceptedUsers are those whose tokens a cluster takes: where the user name is
// the e-mail, it must be verified. Where Dex is trusted there is at least one,
// or the profile would not be valid.
func (e *Environment) acceptedUsers(c profiles.Cluster) []profiles.User {
	var accepted []profiles.User
	if c.Trust.Dex().ClientID == "" {
		return nil
	}
	for _, u := range e.record.Profile.Spec.Dex.Users {
		if *u.EmailVerified || !c.Trust.Dex().NeedsVerified() {
			accepted = append(accepted, u)
		}
	}
	return accepted
}

// checkCluster is a cluster as the check sees it.
func (e *Environment) checkCluster(c profiles.Cluster) (*check.Cluster, error) {
	admin, err := e.admin(c.Name)
	if err != nil {
		return nil, err
	}
	return &check.Cluster{Name: c.Name, Server: rest.AnonymousClientConfig(admin.Config), Log: e.cluster(c).APIServerLog}, nil
}

// kubectl runs the real kubectl with a kubeconfig that holds a token: the
// host's, or where there is none the runtime's own.
func (e *Environment) kubectl(ctx context.Context, c profiles.Cluster, token string, args ...string) (string, error) {
	config, err := e.tokenKubeconfig(c, "user", token)
	if err != nil {
		return "", err
	}
	text, err := clientcmd.Write(*config)
	if err != nil {
		return "", err
	}
	path, err := exec.LookPath("kubectl")
	if err != nil {
		return e.runtime.kubectl(ctx, c, text, append([]string{"--server=" + e.runtime.server(c)}, args...)...)
	}
	return e.runKubectl(ctx, path, text, args...)
}

// runKubectl runs a kubectl of the host with a kubeconfig.
func (e *Environment) runKubectl(ctx context.Context, path string, kubeconfig []byte, args ...string) (string, error) {
	scratch, err := os.MkdirTemp(string(e.dir), ".kubectl-") // mode 0700
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(scratch)
	file := filepath.Join(scratch, "kubeconfig")
	if err := os.WriteFile(file, kubeconfig, 0o600); err != nil {
		return "", err
	}
	command := exec.CommandContext(ctx, path)
	command.Args = append([]string{"kubectl", "--kubeconfig=" + file}, args...)
	var out, said bytes.Buffer
	command.Stdout, command.Stderr = &out, &said
	command.Env = append(os.Environ(), "KUBECACHEDIR="+filepath.Join(scratch, "cache"))
	if err := command.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return out.String(), nil
}

// CheckFailure gives a report's failures their class and hints.
func (e *Environment) CheckFailure(report *check.Report) error {
	if err := report.Error(); err != nil {
		return failure.New(failure.Refused, err, "see the API server's own words: devenv logs"+nameFlag(e.record.Name))
	}
	return nil
}

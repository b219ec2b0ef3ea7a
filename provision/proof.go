package provision

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/access"
	"github.com/devenv-oidc/devenv/provision/check"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/jwt"
	"github.com/devenv-oidc/devenv/provision/trust"
)

func (e *Environment) ensureProof(ctx context.Context) (changed bool, err error) {
	report, err := e.Check(ctx)
	if err != nil {
		return false, err
	}
	return false, e.CheckFailure(report)
}

// Check proves the environment. A proof that fails is in the report; the error
// is for what kept the check itself from being made.
func (e *Environment) Check(ctx context.Context) (*check.Report, error) {
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
	results = append(results, check.Concurrently(trials)...) // after what the expectations say without them
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

// login logs a user in with the client whose tokens a cluster takes.
func (e *Environment) login(ctx context.Context, c profiles.Cluster, u profiles.User) (check.Login, error) {
	token, err := e.Token(ctx, TokenRequest{User: u.Email, Client: c.Trust.Dex().ClientID})
	if err != nil {
		return check.Login{}, err
	}
	claims, err := jwt.Claims(token)
	if err != nil {
		return check.Login{}, err
	}
	return e.expectedLogin(c, u, claims, token)
}

// expectedLogin is whom the API server must take a user for. What an expression
// makes is known only as far as the profile says it.
func (e *Environment) expectedLogin(c profiles.Cluster, u profiles.User, claims map[string]any, token string) (check.Login, error) {
	trust := c.Trust.Dex()
	login := check.Login{Email: u.Email, Token: token, Claims: claims, AnyGroups: trust.GroupsExpression != ""}
	if trust.GroupsClaim == "groups" {
		for _, g := range u.Groups {
			login.Groups = append(login.Groups, trust.GroupsPrefix+g)
		}
	}
	for _, x := range e.record.Profile.Spec.Expectations {
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
		name = e.Issuer() + "#" + name
	}
	login.Username = name
	return login, nil
}

// refusals are tokens of the first user that are wrong in exactly one way:
// signed by Dex's own key, unless the signature is what is wrong.
func (e *Environment) refusals(ctx context.Context, c profiles.Cluster, logins map[string]check.Login) ([]check.Refusal, error) {
	admin, err := e.admin(e.first().Name)
	if err != nil {
		return nil, err
	}
	dex, err := identity.ReadSigner(ctx, admin)
	if err != nil {
		return nil, err
	}
	good := logins[e.acceptedUsers(c)[0].Email].Token
	claims, err := jwt.Claims(good)
	if err != nil {
		return nil, err
	}
	var failed error
	forge := func(change map[string]any) string {
		altered := maps.Clone(claims)
		maps.Copy(altered, change)
		token, err := dex.Sign(altered)
		failed = errors.Join(failed, err)
		return token
	}
	hourAgo := time.Now().Add(-time.Hour).Unix()
	list := []check.Refusal{
		{Name: "no token"},
		{Name: "another audience", Token: forge(map[string]any{"aud": "somebody-else"}), Reason: regexp.MustCompile(`expected audience .* got \[[^\]]*\]`)},
		{Name: "expired", Token: forge(map[string]any{"iat": hourAgo - 3600, "exp": hourAgo}), Reason: regexp.MustCompile(`token is expired \(Token Expiry: [^)]*\)`)},
		{Name: "tampered", Token: tamper(good), Reason: regexp.MustCompile(`failed to verify signature: [^"\]]*`)},
		{Name: "another issuer", Token: forge(map[string]any{"iss": "https://elsewhere.example"}), Reason: regexp.MustCompile(`err="invalid bearer token"`)},
	}
	if c.Trust.Dex().UsernameClaim == "email" {
		notVerified := regexp.MustCompile(`oidc: email not verified`)
		list = append(list, check.Refusal{Name: "e-mail not verified", Token: forge(map[string]any{"email_verified": false}), Reason: notVerified})
		for _, u := range e.record.Profile.Spec.Dex.Users {
			if !*u.EmailVerified { // as Dex itself issues it
				list = append(list, check.Refusal{Name: "e-mail of " + u.Email + " not verified", Token: logins[u.Email].Token, Reason: notVerified})
			}
		}
	}
	return list, failed
}

// tamper changes one byte of a token's signature.
func tamper(token string) string {
	i := strings.LastIndex(token, ".") + 1
	other := byte('A')
	if token[i] == other {
		other = 'B'
	}
	return token[:i] + string(other) + token[i+1:]
}

// CheckFailure gives a report's failures their class and hints.
func (e *Environment) CheckFailure(report *check.Report) error {
	if err := report.Error(); err != nil {
		return failure.New(failure.Refused, err, "see the API server's own words: devenv logs"+nameFlag(e.record.Name))
	}
	return nil
}

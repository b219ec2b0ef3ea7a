package check

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"sync"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/devenv-oidc/devenv/profiles"
)

// Cluster is what is asked: an API server, reached without any credentials of
// its own, because a client certificate would win over a token.
type Cluster struct {
	Name string
	// Server has the address and the CA.
	Server *rest.Config
	// Log returns the API server's log, each line with its time in front.
	Log func(ctx context.Context) (string, error)
	// Kubectl runs the real kubectl as the holder of a token and returns what
	// it prints on stdout, and on stderr as the error.
	Kubectl func(ctx context.Context, token string, args ...string) (string, error)
}

// Login is a user with a token, and who the API server must take them for.
type Login struct {
	Email string
	Token string
	// Claims of the token.
	Claims map[string]any
	// Username and Groups that the API server must make of them; any user name
	// where it is empty, and any groups where AnyGroups says so.
	Username  string
	Groups    []string
	AnyGroups bool
}

// is says whether the API server takes the login for whom it must.
func (l Login) is(user authenticationv1.UserInfo) bool {
	want := append(slices.Clone(l.Groups), "system:authenticated")
	have := slices.Clone(user.Groups)
	slices.Sort(want)
	slices.Sort(have)
	return (l.Username == "" || user.Username == l.Username) && (l.AnyGroups || slices.Equal(want, have))
}

// Rejection is a token that the API server must reject.
type Rejection struct {
	// Name of what is wrong with it, such as "expired".
	Name string
	// Token to send; empty for none at all.
	Token string
	// Reason must match the API server's log; nil where it logs nothing.
	Reason *regexp.Regexp
}

// as returns a client that has a token and nothing else.
func (c *Cluster) as(token string) (kubernetes.Interface, error) {
	config := rest.AnonymousClientConfig(c.Server)
	config.BearerToken = token
	config.QPS = -1
	return kubernetes.NewForConfig(config)
}

// WhoAmI asks the API server who the holder of a token is.
func (c *Cluster) WhoAmI(ctx context.Context, token string) (authenticationv1.UserInfo, error) {
	client, err := c.as(token)
	if err != nil {
		return authenticationv1.UserInfo{}, err
	}
	review, err := client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return authenticationv1.UserInfo{}, err
	}
	return review.Status.UserInfo, nil
}

// Accepts says whether the API server takes a login for whom it must: nil, or
// why not.
func (c *Cluster) Accepts(ctx context.Context, l Login) error {
	user, err := c.WhoAmI(ctx, l.Token)
	if err == nil && !l.is(user) {
		err = fmt.Errorf("it takes them for %s, of the groups %v", user.Username, user.Groups)
	}
	return err
}

// Identity proves who the API server takes a user for.
func (c *Cluster) Identity(ctx context.Context, l Login) Result {
	result := Result{Group: "identity", Name: fmt.Sprintf("%s is %s in %s", l.Email, l.Username, c.Name)}
	if l.Username == "" {
		result.Name = fmt.Sprintf("%s is somebody in %s", l.Email, c.Name)
	}
	user, err := c.WhoAmI(ctx, l.Token)
	if err != nil {
		result.Detail = err.Error()
		return result
	}
	result.OK = l.is(user)
	result.Detail = fmt.Sprintf("user %s, groups %v", user.Username, user.Groups)
	return result
}

// Access proves every action that a user can and cannot do.
func (c *Cluster) Access(ctx context.Context, l Login, x profiles.Expectation) []Result {
	var results []Result
	ask := func(text string, want bool) {
		verb := "can"
		if !want {
			verb = "cannot"
		}
		result := Result{Group: "access", Name: fmt.Sprintf("%s %s %s", l.Email, verb, text)}
		allowed, err := c.allowed(ctx, l.Token, text)
		switch {
		case err != nil:
			result.Detail = err.Error()
		case allowed != want:
			result.Detail = map[bool]string{true: "it is allowed", false: "it is forbidden"}[allowed]
		default:
			result.OK = true
		}
		results = append(results, result)
	}
	for _, action := range x.Can {
		ask(action, true)
	}
	for _, action := range x.Cannot {
		ask(action, false)
	}
	return results
}

func (c *Cluster) allowed(ctx context.Context, token, text string) (bool, error) {
	action, err := profiles.ParseAction(text)
	if err != nil {
		return false, err
	}
	client, err := c.as(token)
	if err != nil {
		return false, err
	}
	review, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: action.Verb, Group: action.Group, Resource: action.Resource, Name: action.Name, Namespace: action.Namespace,
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}

// Concurrently runs proofs side by side and keeps their order.
func Concurrently(proofs []func() []Result) []Result {
	lists := make([][]Result, len(proofs))
	var group sync.WaitGroup
	for i, proof := range proofs {
		group.Go(func() { lists[i] = proof() })
	}
	group.Wait()
	return slices.Concat(lists...)
}

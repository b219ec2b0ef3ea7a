package check

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/devenv-oidc/devenv/profiles"
)

// KubectlIdentity proves that kubectl, given a user's token, is that user.
func (c *Cluster) KubectlIdentity(ctx context.Context, l Login) Result {
	result := Result{Group: "kubectl", Name: "kubectl auth whoami says " + cmp.Or(l.Username, "who "+l.Email+" is")}
	out, err := c.Kubectl(ctx, l.Token, "auth", "whoami", "--output=json")
	if err != nil {
		result.Detail = err.Error()
		return result
	}
	var review authenticationv1.SelfSubjectReview
	if err := json.Unmarshal([]byte(out), &review); err != nil {
		result.Detail = fmt.Sprintf("it printed no JSON: %v", err)
		return result
	}
	result.Detail = "it said " + review.Status.UserInfo.Username
	result.OK = l.is(review.Status.UserInfo)
	return result
}

// KubectlVersion proves that kubectl is told the API server's version.
func (c *Cluster) KubectlVersion(ctx context.Context, l Login) Result {
	result := Result{Group: "kubectl", Name: "kubectl version as " + l.Email}
	out, err := c.Kubectl(ctx, l.Token, "get", "--raw=/version")
	var version struct{ GitVersion string }
	if err == nil {
		err = json.Unmarshal([]byte(out), &version)
	}
	if err != nil {
		result.Detail = err.Error()
		return result
	}
	result.OK, result.Detail = version.GitVersion != "", "the server is "+version.GitVersion
	return result
}

// KubectlAccess proves, by really listing, the first list action that a user
// can do and the first that they cannot: the latter must fail as Forbidden,
// not as Unauthorized.
func (c *Cluster) KubectlAccess(ctx context.Context, l Login, x profiles.Expectation) []Result {
	var results []Result
	if action, ok := firstList(x.Can); ok {
		result := Result{Group: "kubectl", Name: l.Email + " lists with kubectl: " + action.String()}
		_, err := c.Kubectl(ctx, l.Token, getArguments(action)...)
		if result.OK = err == nil; err != nil {
			result.Detail = err.Error()
		}
		results = append(results, result)
	}
	if action, ok := firstList(x.Cannot); ok {
		result := Result{Group: "kubectl", Name: l.Email + " is forbidden with kubectl: " + action.String()}
		_, err := c.Kubectl(ctx, l.Token, getArguments(action)...)
		switch {
		case err == nil:
			result.Detail = "it was allowed"
		case strings.Contains(err.Error(), "(Forbidden)") && strings.Contains(err.Error(), l.Username):
			result.OK = true
		default:
			result.Detail = err.Error()
		}
		results = append(results, result)
	}
	return results
}

func firstList(actions []string) (profiles.Action, bool) {
	for _, text := range actions {
		if a, err := profiles.ParseAction(text); err == nil && a.Verb == "list" {
			return a, true
		}
	}
	return profiles.Action{}, false
}

func getArguments(a profiles.Action) []string {
	resource := a.Resource
	if a.Group != "" {
		resource += "." + a.Group
	}
	if a.Namespace == "" {
		return []string{"get", resource, "--all-namespaces"}
	}
	return []string{"get", resource, "--namespace=" + a.Namespace}
}

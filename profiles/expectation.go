package profiles

import (
	"fmt"
	"slices"
	"strings"
)

// Expectation is what one user can and cannot do in one cluster.
//
// An action reads `VERB RESOURCE[/NAME] [in NAMESPACE]`, as in "list pods",
// "create deployments.apps in demo" or "get secrets/token in kube-system".
// Without a namespace it means everywhere.
type Expectation struct {
	// User by e-mail.
	User string `json:"user"`
	// Cluster by name; the first when empty.
	Cluster string `json:"cluster,omitempty"`
	// Username that the API server must give the user. Where it is made by a
	// claim devenv knows it by itself.
	Username string `json:"username,omitempty"`
	// Claims that the user's id token must have, as they are in it: e-mail,
	// email_verified, aud. That iss is the issuer is proven in any case.
	Claims map[string]any `json:"claims,omitempty"`
	// Can lists the actions that must be allowed.
	Can []string `json:"can,omitempty"`
	// Cannot lists the actions that must be denied, with 403.
	Cannot []string `json:"cannot,omitempty"`
	// Trial is a binding that the check adds and removes.
	Trial *Trial `json:"trial,omitempty"`
}

// Trial grants a user a ClusterRole while the check asks: what they can do then
// must be denied before and after it.
type Trial struct {
	// ClusterRole to grant.
	ClusterRole string `json:"clusterRole" jsonschema:"minLength=1"`
	// Namespace to grant it in; empty for all.
	Namespace string `json:"namespace,omitempty"`
	// Can lists the actions that it must allow.
	Can []string `json:"can" jsonschema:"minItems=1"`
}

func (m *report) expectations(e *Environment) {
	for i, x := range e.Spec.Expectations {
		path := fmt.Sprintf("spec.expectations[%d]", i)
		if u, _ := e.Person(x.User); u != nil && !*u.EmailVerified && e.needsVerified(x.Cluster) {
			m.add(path+".user", "the e-mail of %q is not verified, so that cluster %q rejects all of their tokens; the check proves it by itself", x.User, x.Cluster)
		}
		if u, _ := e.Person(x.User); u == nil {
			m.add(path+".user", "there is no user %q in %s.users%s", x.User, e.Spec.provider(), didYouMean(x.User, emails(e)))
		}
		if c := e.Cluster(x.Cluster); c == nil {
			m.add(path+".cluster", "there is no cluster %q", x.Cluster)
		} else if c.Trust.Provider().ClientID == "" {
			m.add(path+".cluster", "%q does not trust the issuer, so that no user can log in there", x.Cluster)
		}
		m.actions(path+".can", x.Can)
		m.actions(path+".cannot", x.Cannot)
		if x.Trial != nil {
			m.actions(path+".trial.can", x.Trial.Can)
			if c := e.Cluster(x.Cluster); c != nil {
				if c.Trust.Provider().UsernameExpression != "" && x.Username == "" {
					m.add(path+".trial", "needs to know whom to bind: an expression makes the user's name, say it in username")
				}
				if n := x.Trial.Namespace; n != "" && !slices.Contains(c.Access.Namespaces, n) && !builtInNamespace(n) {
					m.add(path+".trial.namespace", "%q is not in access.namespaces of cluster %q", n, x.Cluster)
				}
			}
		}
	}
}

func (m *report) actions(path string, actions []string) {
	for i, a := range actions {
		if _, err := ParseAction(a); err != nil {
			m.add(fmt.Sprintf("%s[%d]", path, i), "%v", err)
		}
	}
}

// Action is one thing that a user is allowed to do, or not.
type Action struct {
	Verb      string
	Group     string // API group, "" for core
	Resource  string
	Name      string
	Namespace string // "" for everywhere
}

// String writes the action as a profile does.
func (a Action) String() string {
	s := a.Verb + " " + a.Resource
	if a.Group != "" {
		s += "." + a.Group
	}
	if a.Name != "" {
		s += "/" + a.Name
	}
	if a.Namespace != "" {
		s += " in " + a.Namespace
	}
	return s
}

// ParseAction reads `VERB RESOURCE[.GROUP][/NAME] [in NAMESPACE]`.
func ParseAction(text string) (Action, error) {
	words := strings.Fields(text)
	if len(words) != 2 && (len(words) != 4 || words[2] != "in") {
		return Action{}, fmt.Errorf("%q is not VERB RESOURCE[.GROUP][/NAME] [in NAMESPACE], as in \"list pods in demo\"", text)
	}
	a := Action{Verb: words[0]}
	resource, name, _ := strings.Cut(words[1], "/")
	a.Resource, a.Group, _ = strings.Cut(resource, ".")
	a.Name = name
	if len(words) == 4 {
		a.Namespace = words[3]
	}
	return a, nil
}

package diagnosis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/jwt"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/session"
)

// issueToken logs the user in by the password grant; a token from elsewhere is
// only read.
func (d *login) issueToken(ctx context.Context) finding {
	var known bool
	d.user, known = d.wantedUser()
	if d.request.Token != "" {
		claims, err := jwt.Claims(d.request.Token)
		if err != nil {
			return failed(fmt.Sprintf("this is no JSON Web Token: %v", err), "give the ID token alone, as devenv token prints it")
		}
		d.token, d.claims = d.request.Token, claims
		return ok("it was given")
	}
	if !known {
		return failed(fmt.Sprintf("the profile has no user %q", d.user.Email), "the users are: "+strings.Join(d.emails(), ", "))
	}
	client := d.cluster.Trust.Provider().ClientID
	if client == "" {
		return warning("the cluster "+d.cluster.Name+" does not trust the issuer", "")
	}
	token, err := session.Token(ctx, d.Environment, session.TokenRequest{User: d.user.Email, Client: client})
	var rejected *identity.LoginError
	switch {
	case errors.As(err, &rejected):
		return failed(rejected.Error(), d.mendIssuer()).withLog(d.dexLog(ctx))
	case err != nil:
		return failed(fmt.Sprintf("could not get a token for %s: %v", d.user.Email, err), d.mendIssuer()).withLog(d.dexLog(ctx))
	}
	if d.claims, err = jwt.Claims(token); err != nil {
		return failed(fmt.Sprintf("the issuer's answer is no JSON Web Token: %v", err), d.logs())
	}
	d.token = token
	return ok("the issuer gave one for " + d.user.Email)
}

// checkClaims compares the token with what the API server wants of it.
func (d *login) checkClaims(context.Context) finding {
	trust := d.cluster.Trust.Provider()
	if d.claims == nil {
		return warning("there is no token", "")
	}
	if iss := d.claims["iss"]; iss != d.Issuer() {
		return failed(fmt.Sprintf("iss is %v, and the API server trusts %s", iss, d.Issuer()), "get a token from this environment: "+d.newToken())
	}
	if !slices.Contains(audiences(d.claims), trust.ClientID) {
		return failed(fmt.Sprintf("aud is %v, and the API server wants %q", d.claims["aud"], trust.ClientID), "get one for that client: "+d.newToken()+" --client "+trust.ClientID)
	}
	if at, err := jwt.Expiry(d.token); err != nil || time.Now().After(at) {
		return failed(fmt.Sprintf("it expired at %s", at.UTC().Format(time.DateTime)), "get a new one: "+d.newToken())
	}
	if claim := trust.UsernameClaim; claim != "" && d.claims[claim] == nil {
		return failed(fmt.Sprintf("it has no claim %q, of which the API server makes the user name", claim), "ask for the scope "+claim)
	}
	if trust.NeedsVerified() && d.claims["email_verified"] != true {
		return failed(fmt.Sprintf("email_verified is %v, and the API server makes user names of verified e-mails only", d.claims["email_verified"]), "have the e-mail verified: users[].emailVerified in the profile")
	}
	return d.checkGroups(trust)
}

func (d *login) checkGroups(trust profiles.IssuerTrust) finding {
	detail := fmt.Sprintf("iss, aud, exp, %s are right; groups are %v", trust.UsernameClaim, orNone(d.claims["groups"]))
	if trust.GroupsClaim != "groups" || d.claims["email"] != d.user.Email {
		return ok(detail)
	}
	var have []string
	list, _ := d.claims["groups"].([]any)
	for _, g := range list {
		have = append(have, fmt.Sprint(g))
	}
	want := slices.Sorted(slices.Values(d.user.Groups))
	if slices.Sort(have); !slices.Equal(have, want) {
		return failed(fmt.Sprintf("groups are %v, and the profile gives %s %v", have, d.user.Email, want), d.mendIssuer())
	}
	return ok(detail)
}

func orNone(v any) any {
	if v == nil {
		return "none"
	}
	return v
}

// audiences are those of a token: one, or a list (RFC 7519, section 4.1.3).
func audiences(claims map[string]any) []string {
	switch aud := claims["aud"].(type) {
	case string:
		return []string{aud}
	case []any:
		var list []string
		for _, a := range aud {
			list = append(list, fmt.Sprint(a))
		}
		return list
	}
	return nil
}

// as is a client that has the token and no other credentials.
func (d *login) as() (kubernetes.Interface, error) {
	admin, err := d.Admin(d.cluster.Name)
	if err != nil {
		return nil, err
	}
	config := rest.AnonymousClientConfig(admin.Config)
	config.BearerToken = d.token
	return kubernetes.NewForConfig(config)
}

// authentication asks the API server who the holder of the token is.
func (d *login) authentication(ctx context.Context) finding {
	if d.token == "" {
		return warning("there is no token", "")
	}
	client, err := d.as()
	if err != nil {
		return failed(err.Error(), d.again())
	}
	reviews := client.AuthenticationV1().SelfSubjectReviews()
	began := time.Now().Add(-time.Second)
	who, err := reviews.Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if apierrors.IsUnauthorized(err) {
		return d.rejected(ctx, began)
	}
	if err != nil {
		return failed(fmt.Sprintf("the API server did not say who it is: %v", err), d.logs())
	}
	return ok(fmt.Sprintf("the API server accepts it: user %s, groups %v", who.Status.UserInfo.Username, who.Status.UserInfo.Groups))
}

// rejected reads from the API server's log why it rejected the token.
func (d *login) rejected(ctx context.Context, since time.Time) finding {
	log := ""
	waited, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_ = kube.Poll(waited, "the reason in the API server's log", func(ctx context.Context) error {
		log = d.lastLine(ctx, func(text string) bool { return strings.Contains(text, "Unable to authenticate") })
		stamp, _, _ := strings.Cut(log, " ")
		if at, err := time.Parse(time.RFC3339Nano, stamp); err != nil || at.Before(since) {
			return errors.New("it is not there yet")
		}
		return nil
	})
	detail, remedy := "the API server rejects it with 401", d.logs()
	switch {
	case strings.Contains(log, "failed to verify signature"):
		detail += ": it does not know the key that signed it (the issuer has new keys, and the API server asks for them every ten minutes)"
		remedy = d.again()
	case strings.Contains(log, "authenticator not initialized"):
		detail += ": it has not reached the issuer yet, and tries every ten seconds"
		remedy = d.again()
	}
	return failed(detail, remedy).withLog(log)
}

// authorization asks for every action that the profile expects of the user.
func (d *login) authorization(ctx context.Context) finding {
	if d.token == "" {
		return warning("there is no token", "")
	}
	client, err := d.as()
	if err != nil {
		return failed(err.Error(), d.again())
	}
	asked, reason := 0, ""
	for _, x := range d.Spec().Expectations {
		if x.Cluster != d.cluster.Name || x.User != d.claims["email"] {
			continue
		}
		for i, text := range append(slices.Clone(x.Can), x.Cannot...) {
			want := i < len(x.Can)
			action, err := profiles.ParseAction(text)
			if err != nil {
				return failed(err.Error(), "correct it in the profile: spec.expectations")
			}
			status, err := d.review(ctx, client, action)
			if err != nil {
				return failed(fmt.Sprintf("could not ask whether %s can %s: %v", x.User, text, err), d.logs())
			}
			asked++
			switch {
			case want && !status.Allowed:
				return failed(fmt.Sprintf("%s cannot %s, which the profile expects; %s", x.User, text, d.nearest(ctx, action)), d.again())
			case !want && status.Allowed:
				return failed(fmt.Sprintf("%s can %s, which the profile denies: %s", x.User, text, status.Reason), "delete that binding, or: "+d.again())
			case want:
				reason = fmt.Sprintf("; %s: %s", text, status.Reason)
			}
		}
	}
	if asked == 0 {
		return ok("the profile expects nothing of this user")
	}
	return ok(fmt.Sprintf("%d actions are as the profile expects%s", asked, reason))
}

func (d *login) review(ctx context.Context, client kubernetes.Interface, a profiles.Action) (authorizationv1.SubjectAccessReviewStatus, error) {
	review, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: a.Verb, Group: a.Group, Resource: a.Resource, Name: a.Name, Namespace: a.Namespace,
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		return authorizationv1.SubjectAccessReviewStatus{}, err
	}
	return review.Status, nil
}

// nearest names a binding of the profile that would allow an action and does
// not exist, or else a role that would.
func (d *login) nearest(ctx context.Context, a profiles.Action) string {
	admin, err := d.Admin(d.cluster.Name)
	if err != nil {
		return err.Error()
	}
	roles, err := admin.Core.RbacV1().ClusterRoles().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err.Error()
	}
	var allowing []string
	for _, r := range roles.Items {
		if slices.ContainsFunc(r.Rules, func(rule rbacv1.PolicyRule) bool { return allows(rule, a) }) {
			allowing = append(allowing, r.Name)
		}
	}
	for _, b := range d.cluster.Access.Bindings {
		if !slices.Contains(allowing, b.ClusterRole) || b.Namespace != "" && b.Namespace != a.Namespace {
			continue
		}
		kind, err := "ClusterRoleBinding "+b.Name, error(nil)
		if b.Namespace != "" {
			kind = fmt.Sprintf("RoleBinding %s/%s", b.Namespace, b.Name)
			_, err = admin.Core.RbacV1().RoleBindings(b.Namespace).Get(ctx, b.Name, metav1.GetOptions{})
		} else {
			_, err = admin.Core.RbacV1().ClusterRoleBindings().Get(ctx, b.Name, metav1.GetOptions{})
		}
		if apierrors.IsNotFound(err) {
			return fmt.Sprintf("the %s to the ClusterRole %s would allow it, and does not exist", kind, b.ClusterRole)
		}
		return fmt.Sprintf("the nearest is the %s to the ClusterRole %s, for users %v and groups %v", kind, b.ClusterRole, b.Users, b.Groups)
	}
	if len(allowing) == 0 {
		return "no ClusterRole allows it"
	}
	return "ClusterRoles that would allow it: " + strings.Join(allowing[:min(3, len(allowing))], ", ")
}

// allows says whether a rule covers an action (k8s.io/kubernetes,
// plugin/pkg/auth/authorizer/rbac).
func allows(rule rbacv1.PolicyRule, a profiles.Action) bool {
	has := func(list []string, want string) bool {
		return slices.Contains(list, "*") || slices.Contains(list, want)
	}
	return has(rule.Verbs, a.Verb) && has(rule.APIGroups, a.Group) && has(rule.Resources, a.Resource) &&
		(len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, a.Name))
}

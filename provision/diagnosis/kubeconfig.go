package diagnosis

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/jwt"
)

// KubeconfigRequest names a cluster that devenv need not know.
type KubeconfigRequest struct {
	File    string
	Context string // the current one when empty
	// Token to be explained in the place of the kubeconfig's own.
	Token string
}

// Kubeconfig follows the login of a kubeconfig on any cluster. It reads only,
// and says which hops it cannot see without more permissions there. The error is
// of class Usage: the kubeconfig cannot be read.
func Kubeconfig(ctx context.Context, r KubeconfigRequest) (*Report, error) {
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: r.File}, &clientcmd.ConfigOverrides{CurrentContext: r.Context}).ClientConfig()
	if err != nil {
		return nil, failure.New(failure.Usage, fmt.Errorf("could not read the kubeconfig %s: %w", r.File, err), "see its contexts: kubectl config get-contexts --kubeconfig "+r.File)
	}
	v := &visitor{token: r.Token, config: config}
	config.Timeout = hopLimit
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return seen{v, next} })
	own, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, failure.New(failure.Usage, fmt.Errorf("could not use the kubeconfig %s: %w", r.File, err))
	}
	v.own, v.client = own, own
	if r.Token != "" {
		bearer := rest.AnonymousClientConfig(config)
		bearer.BearerToken = r.Token
		if v.client, err = kubernetes.NewForConfig(bearer); err != nil {
			return nil, err
		}
	}
	report := &Report{}
	follow(ctx, report, limited([]hop{
		{"api-server", v.apiServer},
		{"api-server-flags", v.apiServerFlags},
		{"token", v.readToken},
		{"name-resolution", v.nameResolution},
		{"tcp", v.tcp},
		{"tls", v.tls},
		{"discovery", v.discovery},
		{"keys", v.keys},
		{"clock", v.clock},
		{"claims", v.checkClaims},
		{"authentication", v.authentication},
		{"authorization", v.authorization},
	}))
	return report, nil
}

// visitor follows a login from outside; hops leave here what later ones need.
type visitor struct {
	config *rest.Config
	own    kubernetes.Interface // with the kubeconfig's own credentials
	client kubernetes.Interface // with those of the login that is followed

	flags  map[string]string // nil where they cannot be seen
	token  string
	claims map[string]any
	issuer *url.URL // nil where nobody names one
	// unverified says that this host's own CAs do not verify the issuer; the API
	// server may have been given another.
	unverified bool
	user       string
}

// seen remembers the bearer token that a kubeconfig's credentials send, also
// those of a credential plug-in.
type seen struct {
	v    *visitor
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (s seen) RoundTrip(r *http.Request) (*http.Response, error) {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok && s.v.token == "" {
		s.v.token = token
	}
	return s.next.RoundTrip(r)
}

const notVisible = "not visible from here: "

func (v *visitor) apiServer(ctx context.Context) finding {
	_, err := v.own.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
	switch {
	case err == nil, apierrors.IsUnauthorized(err), apierrors.IsForbidden(err):
		return ok("answers on " + v.config.Host)
	}
	return failed(fmt.Sprintf("the API server on %s does not answer: %v", v.config.Host, err), "see whether the address is right: kubectl cluster-info")
}

// apiServerFlags are seen where the API server is a static pod, by whoever is
// allowed to list those.
func (v *visitor) apiServerFlags(ctx context.Context) finding {
	pods, err := v.own.CoreV1().Pods("kube-system").List(ctx, metav1.ListOptions{LabelSelector: "component=kube-apiserver"})
	switch {
	case err != nil:
		return warning(notVisible+"it needs the permission to list pods in kube-system", "ask with an administrator's kubeconfig and --token-file")
	case len(pods.Items) == 0:
		return warning(notVisible+"the API server is not a pod of this cluster", "")
	}
	v.flags = map[string]string{}
	for _, c := range pods.Items[0].Spec.Containers {
		for _, argument := range append(slices.Clone(c.Command), c.Args...) {
			if name, value, ok := strings.Cut(strings.TrimPrefix(argument, "--"), "="); ok && (strings.HasPrefix(name, "oidc-") || name == "authentication-config") {
				v.flags[name] = value
			}
		}
	}
	if file := v.flags["authentication-config"]; file != "" {
		return warning(notVisible+"the API server reads "+file+" on its node", "compare that file with the hops below")
	}
	if v.flags["oidc-issuer-url"] == "" {
		return failed("the API server has no flags --oidc-issuer-url and --oidc-client-id, and no --authentication-config: it trusts no OpenID Connect provider", "give them to it: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#configuring-the-api-server")
	}
	return ok(fmt.Sprintf("it trusts %s, for the audience %s", v.flags["oidc-issuer-url"], v.flags["oidc-client-id"]))
}

func (v *visitor) readToken(context.Context) finding {
	issuer := v.flags["oidc-issuer-url"]
	if v.token != "" {
		claims, err := jwt.Claims(v.token)
		if err != nil {
			return failed(fmt.Sprintf("the token is no JSON Web Token: %v", err), "give an ID token")
		}
		v.claims = claims
		if iss, is := claims["iss"].(string); is && issuer == "" {
			issuer = iss
		}
	}
	v.issuer, _ = url.Parse(issuer)
	if issuer == "" {
		v.issuer = nil
	}
	if v.token == "" {
		return warning("the kubeconfig sends no token: it logs in by other means", "explain one with --token-file")
	}
	return ok("one is sent")
}

func (v *visitor) clock(ctx context.Context) finding {
	theirs, err := serverTime(ctx, v.config)
	if err != nil {
		return warning(err.Error(), "")
	}
	return compareClocks(time.Now(), theirs)
}

func (v *visitor) checkClaims(context.Context) finding {
	if v.claims == nil {
		return warning("there is no token", "")
	}
	if at, err := jwt.Expiry(v.token); err != nil || time.Now().After(at) {
		return failed(fmt.Sprintf("it expired at %s", at.UTC().Format(time.DateTime)), "get a new one")
	}
	if v.flags["oidc-issuer-url"] == "" {
		return ok(fmt.Sprintf("iss %v, aud %v, valid now; what the API server wants is not visible", v.claims["iss"], v.claims["aud"]))
	}
	claim := v.flags["oidc-username-claim"]
	if claim == "" {
		claim = "sub"
	}
	switch {
	case v.claims["iss"] != v.flags["oidc-issuer-url"]:
		return failed(fmt.Sprintf("iss is %v, and the API server trusts %s", v.claims["iss"], v.flags["oidc-issuer-url"]), "get a token from that issuer")
	case !slices.Contains(audiences(v.claims), v.flags["oidc-client-id"]):
		return failed(fmt.Sprintf("aud is %v, and the API server wants %q", v.claims["aud"], v.flags["oidc-client-id"]), "get a token for that client")
	case v.claims[claim] == nil:
		return failed(fmt.Sprintf("it has no claim %q, of which the API server makes the user name", claim), "ask for the scope "+claim)
	case claim == "email" && v.claims["email_verified"] != nil && v.claims["email_verified"] != true:
		return failed(fmt.Sprintf("email_verified is %v", v.claims["email_verified"]), "verify the e-mail at the provider")
	}
	groups := v.flags["oidc-groups-claim"]
	if groups != "" && v.claims[groups] == nil {
		return warning(fmt.Sprintf("it has no claim %q, of which the API server makes groups", groups), "ask for the scope "+groups)
	}
	return ok(fmt.Sprintf("iss, aud, exp and %s are right", claim))
}

func (v *visitor) authentication(ctx context.Context) finding {
	review, err := v.client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	switch {
	case apierrors.IsUnauthorized(err):
		return failed("the API server rejects it with 401; only its log has the reason", "see the log of kube-apiserver: Unable to authenticate the request")
	case err != nil:
		return failed(fmt.Sprintf("the API server did not say who it is: %v", err), "kubectl auth whoami")
	}
	v.user = review.Status.UserInfo.Username
	return ok(fmt.Sprintf("the API server accepts it: user %s, groups %v", v.user, review.Status.UserInfo.Groups))
}

func (v *visitor) authorization(context.Context) finding {
	return ok("what " + v.user + " is allowed to do: kubectl auth can-i --list")
}

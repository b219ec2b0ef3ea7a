package proofs

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/binding"
	"github.com/devenv-oidc/devenv/provision/check"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/kube"
)

// bindingLimit is how long the whole login at a backend takes at most.
const bindingLimit = time.Minute

// serviceBinding goes through a backend's login up to the kubeconfig, uses that
// where the cluster's nodes are, and tries what must be refused. Where a step
// fails, those after it are not proven.
func (s *suite) serviceBinding(ctx context.Context, b profiles.ServiceBinding) []check.Result {
	ctx, cancel := context.WithTimeout(ctx, bindingLimit)
	defer cancel()
	var list []check.Result
	add := func(name, detail string, err error) bool {
		result := check.Result{Group: "binding", Name: b.Cluster + ": " + name, OK: err == nil, Detail: detail}
		if err != nil {
			result.Detail = err.Error()
		}
		list = append(list, result)
		return result.OK
	}
	filled, fillErr := environment.Fill(s.Environment, b)
	client, clientErr := s.IssuerClient()
	key, keyErr := base64.StdEncoding.DecodeString(filled.SigningKey)
	if err := errors.Join(fillErr, clientErr, keyErr); err != nil {
		add("the backend "+b.Endpoint+" is reachable", "", err)
		return list
	}
	backend := binding.Backend{URL: s.EndpointURL(b.Endpoint), HTTP: client, Cookie: b.Cookie}
	user := *s.Record.Profile.User(b.User)

	page, err := s.loginPage(ctx, backend)
	if err == nil && page != backend.URL+"/authorize" {
		err = fmt.Errorf("it names %s, not %s/authorize", page, backend.URL)
	}
	if !add("the backend "+b.Endpoint+" names its login page", page, err) {
		return list
	}
	session, err := backend.Login(ctx, page, user.Email, user.Password)
	if !add(user.Email+" logs in at the backend with Dex's page", "cookie "+b.Cookie+"…", err) {
		return list
	}
	api := b.Resource + "." + b.Group
	if !strings.Contains(session.Page, b.Resource) || !strings.Contains(session.Page, b.Group) {
		err = errors.New("/resources does not list it")
	}
	if !add("the backend offers "+api, "", err) {
		return list
	}
	response, err := backend.Bind(ctx, session.ID, session.Cookie, b.Group, b.Resource)
	if !add(user.Email+" gets a kubeconfig for "+api, "", err) {
		return list
	}
	detail, err := s.consumer(ctx, b, response.Kubeconfig)
	add("the kubeconfig works from the cluster", detail, err)
	return append(list, s.refusedBindings(ctx, b, backend, page, session, key)...)
}

// endpointLimit is how long an endpoint may not answer on the host: kube-proxy
// leads its port to pods a moment after they are ready.
const endpointLimit = 15 * time.Second

// loginPage asks the backend again while there is no connection to it; what the
// backend answers is final.
func (s *suite) loginPage(ctx context.Context, backend binding.Backend) (page string, err error) {
	var answered error
	ctx, cancel := context.WithTimeoutCause(ctx, endpointLimit, fmt.Errorf("the limit of %s was reached", endpointLimit))
	defer cancel()
	err = kube.Poll(ctx, backend.URL+" to answer", func(ctx context.Context) error {
		var err error
		page, err = backend.LoginPage(ctx)
		var network net.Error
		if err != nil && !errors.As(err, &network) {
			answered = err
			return nil
		}
		return err
	})
	return page, errors.Join(err, answered)
}

// consumer uses the kubeconfig that a backend gave, where the nodes of the
// cluster are that it is for.
func (s *suite) consumer(ctx context.Context, b profiles.ServiceBinding, kubeconfig []byte) (detail string, err error) {
	loaded, err := clientcmd.NewClientConfigFromBytes(kubeconfig)
	if err != nil {
		return "", err
	}
	namespace, _, err := loaded.Namespace()
	if err != nil {
		return "", err
	}
	who, err := s.runtime.Kubectl(ctx, b.Cluster, kubeconfig, "auth", "whoami", "--output=jsonpath={.status.userInfo.username}")
	if err != nil {
		return "", err
	}
	if want := "system:serviceaccount:" + namespace + ":"; !strings.HasPrefix(who, want) {
		return "", fmt.Errorf("the API server takes its holder for %q, not for a service account of %s", who, namespace)
	}
	switch _, err := s.runtime.Kubectl(ctx, b.Cluster, kubeconfig, "get", "secrets", "--namespace=kube-system"); {
	case err == nil:
		return "", errors.New("its holder can read the Secrets of kube-system")
	case !strings.Contains(err.Error(), "(Forbidden)"):
		return "", unexpected(err)
	}
	return who, nil
}

// refusedBindings are logins and sessions that a backend must not take.
func (s *suite) refusedBindings(ctx context.Context, b profiles.ServiceBinding, backend binding.Backend, page string, session *binding.Session, key []byte) []check.Result {
	var list []check.Result
	add := func(name, detail string, err error) {
		result := check.Result{Group: "binding", Name: b.Cluster + ": " + name, OK: err == nil, Detail: detail}
		if err != nil {
			result.Detail = err.Error()
		}
		list = append(list, result)
	}
	user := *s.Record.Profile.User(b.User)
	for _, login := range []struct{ name, email, password string }{
		{"a wrong password", user.Email, user.Password + "x"},
		{"somebody unknown", "nobody-" + user.Email, user.Password},
	} {
		_, err := backend.Login(ctx, page, login.email, login.password)
		var rejected *binding.RejectedError
		if errors.As(err, &rejected) {
			add("rejected: "+login.name, err.Error(), nil)
		} else {
			add("rejected: "+login.name, "", unexpected(err))
		}
	}
	name := b.Cookie + session.ID
	changed, changedErr := binding.Changed(session.Cookie)
	expired, expiredErr := binding.Dated(name, session.Cookie, key, time.Now().AddDate(-1, 0, 0))
	today, todayErr := binding.Dated(name, session.Cookie, key, time.Now())
	if err := errors.Join(changedErr, expiredErr, todayErr); err != nil {
		add("rejected: an expired cookie", "", err)
		return list
	}
	// the control: what is signed again with today's date is accepted, so that the
	// expired one is rejected for its date
	_, err := backend.Bind(ctx, session.ID, today, b.Group, b.Resource)
	add("a cookie that is signed again is accepted", "", err)
	for _, c := range []struct{ name, session, cookie, resource string }{
		{"no cookie", session.ID, "", b.Resource},
		{"a changed cookie", session.ID, changed, b.Resource},
		{"an expired cookie", session.ID, expired, b.Resource},
		{"the cookie of another session", session.ID + "x", session.Cookie, b.Resource},
		{"an API that is not offered", session.ID, session.Cookie, b.Resource + "x"},
	} {
		_, err := backend.Bind(ctx, c.session, c.cookie, b.Group, c.resource)
		var status *binding.StatusError
		if errors.As(err, &status) && status.Code < http.StatusBadGateway { // from there on it is the gateway that speaks
			add("rejected: "+c.name, err.Error(), nil)
		} else {
			add("rejected: "+c.name, "", unexpected(err))
		}
	}
	return list
}

// unexpected is what must have been rejected, and was not.
func unexpected(err error) error {
	if err == nil {
		return errors.New("it is accepted")
	}
	return fmt.Errorf("it is not rejected, but fails: %w", err)
}

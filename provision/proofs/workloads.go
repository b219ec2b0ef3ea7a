package proofs

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/check"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/session"
)

// workloads proves that a profile's Deployments run, and what its probes find;
// those are not made where a Deployment does not run.
func (s *suite) workloads(ctx context.Context) []check.Result {
	var results []check.Result
	var broken []string
	for _, c := range s.Spec().Clusters {
		admin, adminErr := s.Admin(c.Name)
		objects, fillErr := environment.Objects(ctx, s.Environment, c)
		if err := errors.Join(adminErr, fillErr); err != nil {
			broken = append(broken, "cluster "+c.Name)
			results = append(results, s.about(c, check.Result{Group: "workload", Name: "the objects of " + c.Name, Detail: err.Error()})...)
			continue
		}
		for _, d := range kube.Deployments(objects) {
			name := fmt.Sprintf("Deployment %s/%s", d.Namespace, d.Name)
			result := check.Result{Group: "workload", Name: name + " runs", OK: true}
			if err := admin.Available(ctx, d.Namespace, d.Name); err != nil {
				result.OK, result.Detail = false, err.Error()
				broken = append(broken, name)
			}
			results = append(results, s.about(c, result)...)
		}
		for _, o := range kube.Awaited(objects) {
			result := check.Result{Group: "workload", Name: kube.NameOf(o) + " is ready", OK: true}
			if err := admin.Ready(ctx, o); err != nil {
				result.OK, result.Detail = false, err.Error()
				broken = append(broken, kube.NameOf(o))
			}
			results = append(results, s.about(c, result)...)
		}
	}
	probes := make([]proof, len(s.Spec().Probes))
	for i, p := range s.Spec().Probes {
		probes[i] = func() []check.Result {
			result := check.Result{Group: "probe", Name: p.From + ": " + p.Name}
			if len(broken) > 0 {
				result.Detail = "not proven, because of what does not run: " + strings.Join(broken, ", ")
				return []check.Result{result}
			}
			return []check.Result{s.probe(ctx, p, result)}
		}
	}
	return append(results, check.Concurrently(probes)...)
}

func (s *suite) probe(ctx context.Context, p profiles.Probe, result check.Result) check.Result {
	filled, err := environment.Fill(s.Environment, p)
	if err != nil {
		result.Detail = err.Error()
		return result
	}
	server, path, urlErr := filled.ParsedURL()
	admin, adminErr := s.Admin(p.From)
	token := ""
	var tokenErr error
	if p.Token != nil {
		token, tokenErr = session.Token(ctx, s.Environment, session.TokenRequest{Client: p.Token.Client, Audience: p.Token.Audience, Grant: session.GrantClientCredentials})
	}
	if err := errors.Join(urlErr, adminErr, tokenErr); err != nil {
		result.Detail = err.Error()
		return result
	}
	status, err := check.Get(ctx, admin, "default", s.podImage(), check.Request{Server: server, Path: path, CA: filled.CA, Token: token})
	if err != nil {
		result.Detail = err.Error()
		return result
	}
	result.OK, result.Detail = status == p.Status, fmt.Sprintf("%d from %s%s", status, server, path)
	return result
}

// issuerFromPod proves that the pods of a cluster reach the issuer.
func (s *suite) issuerFromPod(ctx context.Context, c profiles.Cluster) ([]check.Result, error) {
	ca, err := s.Dir.Read("ca.crt")
	if err != nil {
		return nil, err
	}
	admin, err := s.Admin(c.Name)
	if err != nil {
		return nil, err
	}
	return s.about(c, check.IssuerFromPod(ctx, admin, "default", s.podImage(), s.Issuer(), string(ca))), nil
}

// podImage is an image that every node has: Dex's.
func (s *suite) podImage() string { return s.Record.Pins.DexImage(s.Spec().Dex.Version).Ref() }

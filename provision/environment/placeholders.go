package environment

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/devenv-oidc/devenv/profiles"
)

// Fill replaces the placeholders in a part of the environment's profile.
func Fill[T any](e *Environment, part T) (T, error) {
	return profiles.FillAll(part, e.Value)
}

// Value is what a placeholder stands for; profiles.Environment.Filled lists
// them.
func (e *Environment) Value(name string) (string, error) {
	if profiles.RandomPlaceholder(name) {
		return e.Record.Random[name], nil
	}
	kind, rest, _ := strings.Cut(name, ".")
	switch kind {
	case "environment":
		return e.Record.Name, nil
	case "issuer":
		if rest == "host" {
			return e.IssuerHost(), nil
		}
		return e.Issuer(), nil
	case "ca":
		text, err := e.Dir.Read("ca.crt")
		return string(text), err
	case "clients":
		if c := e.Record.Profile.Client(strings.TrimSuffix(rest, ".secret")); c != nil {
			return c.Secret, nil
		}
	case "endpoints":
		endpoint, what, _ := strings.Cut(rest, ".")
		if _, ok := e.Record.EndpointPorts[endpoint]; ok && what == "host" {
			return e.Host(endpoint), nil
		} else if ok {
			return e.EndpointURL(endpoint), nil
		}
	case "images":
		if image, ok := e.Record.Pins.Images[rest]; ok {
			return image.Pinned(), nil
		}
	case "clusters":
		cluster, what, _ := strings.Cut(rest, ".")
		if c := e.Record.Profile.Cluster(cluster); c != nil {
			return e.clusterValue(*c, what)
		}
	}
	return "", fmt.Errorf("there is no placeholder ${%s}", name)
}

func (e *Environment) clusterValue(c profiles.Cluster, what string) (string, error) {
	switch what {
	case "host":
		server, err := url.Parse(e.Server(c.Name))
		if err != nil {
			return "", err
		}
		return server.Hostname(), nil
	case "ca":
		admin, err := e.Admin(c.Name)
		if err != nil {
			return "", err
		}
		return string(admin.Config.CAData), nil
	}
	return e.Server(c.Name), nil
}

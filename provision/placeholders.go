package provision

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"

	"github.com/devenv-oidc/devenv/profiles"
)

// fill replaces the placeholders in a part of the environment's profile.
func fill[T any](e *Environment, part T) (T, error) {
	return profiles.FillAll(part, e.value)
}

// value is what takes a placeholder's place; profiles.Environment.Placeholders
// lists them.
func (e *Environment) value(name string) (string, error) {
	if profiles.RandomPlaceholder(name) {
		return e.record.Random[name], nil
	}
	kind, rest, _ := strings.Cut(name, ".")
	switch kind {
	case "environment":
		return e.record.Name, nil
	case "issuer":
		if rest == "host" {
			return e.issuerHost(), nil
		}
		return e.Issuer(), nil
	case "ca":
		text, err := e.dir.Read("ca.crt")
		return string(text), err
	case "clients":
		if c := e.record.Profile.Client(strings.TrimSuffix(rest, ".secret")); c != nil {
			return c.Secret, nil
		}
	case "endpoints":
		endpoint, what, _ := strings.Cut(rest, ".")
		if port, ok := e.record.EndpointPorts[endpoint]; ok && what == "host" {
			return e.runtime.host(endpoint), nil
		} else if ok {
			return fmt.Sprintf("https://%s:%d", e.runtime.host(endpoint), port), nil
		}
	case "images":
		if image, ok := e.pins.Images[rest]; ok {
			return image.Pinned(), nil
		}
	case "clusters":
		cluster, what, _ := strings.Cut(rest, ".")
		if c := e.record.Profile.Cluster(cluster); c != nil {
			return e.clusterValue(*c, what)
		}
	}
	return "", fmt.Errorf("there is no placeholder ${%s}", name)
}

func (e *Environment) clusterValue(c profiles.Cluster, what string) (string, error) {
	switch what {
	case "host":
		server, err := url.Parse(e.runtime.server(c))
		if err != nil {
			return "", err
		}
		return server.Hostname(), nil
	case "ca":
		admin, err := e.admin(c.Name)
		if err != nil {
			return "", err
		}
		return string(admin.Config.CAData), nil
	}
	return e.runtime.server(c), nil
}

// randomKeys are 32 bytes in base64 for each placeholder ${random.NAME}; those
// that an earlier record has are kept.
func randomKeys(profile *profiles.Environment, old map[string]string) map[string]string {
	keys := map[string]string{}
	for _, name := range profiles.UsedPlaceholders(profile) {
		if !profiles.RandomPlaceholder(name) {
			continue
		}
		if keys[name] = old[name]; keys[name] == "" {
			random := make([]byte, 32)
			_, _ = rand.Read(random) // never fails (crypto/rand)
			keys[name] = base64.StdEncoding.EncodeToString(random)
		}
	}
	return keys
}

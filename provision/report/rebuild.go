package report

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/check"
)

// Rebuild returns the profile of the reported environment with new passwords and
// secrets, equal where they were equal, and what of the environment cannot be the
// same here; pins and devenv are this devenv's own.
func (r *Report) Rebuild(pins profiles.Pins, devenv string) (profile *profiles.Environment, differs []string) {
	copied := r.Profile
	renewed := map[string]string{}
	renew := func(secret string) string {
		if !redacted(secret) {
			return secret
		}
		if renewed[secret] == "" {
			renewed[secret] = rand.Text()
		}
		return renewed[secret]
	}
	copied.Spec.Dex.Users, copied.Spec.Dex.Clients = slices.Clone(copied.Spec.Dex.Users), slices.Clone(copied.Spec.Dex.Clients)
	for i := range copied.Spec.Dex.Users {
		copied.Spec.Dex.Users[i].Password = renew(copied.Spec.Dex.Users[i].Password)
	}
	for i := range copied.Spec.Dex.Clients {
		copied.Spec.Dex.Clients[i].Secret = renew(copied.Spec.Dex.Clients[i].Secret)
	}
	differ := func(what, there, here string) {
		if there != here {
			differs = append(differs, fmt.Sprintf("%s: %s there, %s here", what, there, here))
		}
	}
	differ("devenv", r.Devenv, devenv)
	differ("machine", r.Host.OS+"/"+r.Host.Arch, runtime.GOOS+"/"+runtime.GOARCH)
	for _, c := range copied.Spec.Clusters {
		differ("node image of cluster "+c.Name, r.Pins.NodeImages[c.KubernetesVersion].Image, pins.NodeImages[c.KubernetesVersion].Image)
	}
	differ("image of Dex", r.Pins.DexImage(copied.Spec.Dex.Version).Ref(), pins.DexImage(copied.Spec.Dex.Version).Ref())
	if len(renewed) > 0 {
		differs = append(differs, fmt.Sprintf("%d passwords and secrets are new", len(renewed)))
	}
	if left := placeholdersLeft(copied); left > 0 {
		differs = append(differs, fmt.Sprintf("%d more secrets in the profile, of charts or objects, stay placeholders; put yours in their place: devenv up --file", left))
	}
	return &copied, differs
}

func placeholdersLeft(profile profiles.Environment) int {
	text, err := json.Marshal(profile)
	if err != nil {
		return 0
	}
	return strings.Count(string(text), placeholderStart)
}

// Comparison is how a proof came out there and here.
type Comparison struct {
	Group string `json:"group"`
	Name  string `json:"name"`
	// There and Here are "ok", "failed: why" or "not made".
	There string `json:"there"`
	Here  string `json:"here"`
	// Same says that both are, and for the same reason.
	Same bool `json:"same"`
}

// Against compares results with those of the report, proof by proof. Names,
// ports and the like that differ between environments make no difference.
func (r *Report) Against(here []check.Result, name string) []Comparison {
	var list []Comparison
	theirs := map[string]check.Result{}
	for _, result := range r.Results {
		theirs[key(result, r.Name)] = result
	}
	for _, result := range here {
		k := key(result, name)
		there, made := theirs[k]
		delete(theirs, k)
		c := Comparison{Group: result.Group, Name: result.Name, There: "not made", Here: outcome(result)}
		if made {
			c.There = outcome(there)
			c.Same = there.OK == result.OK && (result.OK || neutral(there.Detail, r.Name) == neutral(result.Detail, name))
		}
		list = append(list, c)
	}
	for _, result := range r.Results {
		if _, left := theirs[key(result, r.Name)]; left {
			list = append(list, Comparison{Group: result.Group, Name: result.Name, There: outcome(result), Here: "not made"})
		}
	}
	return list
}

func outcome(r check.Result) string {
	if r.OK {
		return "ok"
	}
	return "failed: " + r.Detail
}

func key(r check.Result, environment string) string {
	return r.Group + "\n" + neutral(r.Name, environment)
}

// varying is what differs from one environment to the next: numbers (ports,
// times), and long identifiers.
var varying = regexp.MustCompile(`REDACTED-[a-z-]+-[0-9]+|[0-9a-f]{8,}|[0-9]+`)

// neutral is a text without what only tells environments apart.
func neutral(text, environment string) string {
	text = strings.ReplaceAll(text, "devenv-"+environment+"-", "devenv-ENVIRONMENT-")
	text = strings.ReplaceAll(text, "."+environment+".localhost", ".ENVIRONMENT.localhost")
	return varying.ReplaceAllString(text, "N")
}

package record

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/failure"
)

// oldest is the first version of Kubernetes whose API server and kubelet know
// everything that devenv configures.
var oldest = version.MustParseSemantic("v1.25.0")

// CheckVersions rejects versions of Kubernetes that a runtime cannot run; the
// error is of class Usage.
func CheckVersions(profile *profiles.Environment, pins profiles.Pins, runtime Runtime) error {
	for _, c := range profile.Spec.Clusters {
		v, err := version.ParseSemantic(c.KubernetesVersion)
		if err != nil {
			return failure.New(failure.Usage, err)
		}
		if v.LessThan(oldest) {
			return failure.New(failure.Usage, fmt.Errorf("the version %s of Kubernetes is too old, 1.25 is the first that works", c.KubernetesVersion))
		}
		if c.Image != "" && runtime.Pods { // whoever names an image says what is in it
			continue
		}
		if !runtime.Has(pins, c.KubernetesVersion) {
			return failure.Newf(failure.Usage, "no node image is pinned for Kubernetes %s", c.KubernetesVersion).
				Hint("known are: %s; a sources file (DEVENV_SOURCES) can name others", strings.Join(slices.Sorted(maps.Keys(pins.NodeImages)), ", "))
		}
	}
	return nil
}

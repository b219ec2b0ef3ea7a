package chart

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/storage/driver"
	"k8s.io/cli-runtime/pkg/genericclioptions"
)

// Prune uninstalls the releases with these labels that are not wanted, by
// namespace/name. CRDs that a chart brought in its folder crds stay, as Helm has
// it.
func Prune(client genericclioptions.RESTClientGetter, log func(string, ...any), labels map[string]string, wanted []string) (changed bool, err error) {
	config, err := configuration(client, log, "")
	if err != nil {
		return false, err
	}
	query := maps.Clone(labels) // by labels: a list of all releases would unpack every one
	query["owner"] = "helm"
	found, err := config.Releases.Query(query)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("could not list the releases: %w", err)
	}
	done := map[string]bool{} // each revision of a release is found
	for _, r := range found {
		name := r.Namespace + "/" + r.Name
		if done[name] || slices.Contains(wanted, name) {
			continue
		}
		done[name] = true
		config, err := configuration(client, log, r.Namespace)
		if err != nil {
			return changed, err
		}
		uninstall := action.NewUninstall(config)
		uninstall.Timeout = hookLimit
		if _, err := uninstall.Run(r.Name); err != nil {
			return changed, fmt.Errorf("could not uninstall the release %s, which the profile does not have: %w", name, err)
		}
		changed = true
	}
	return changed, nil
}

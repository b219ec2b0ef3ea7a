package steps

import (
	"context"
	"fmt"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/chart"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/plan"
	"github.com/devenv-oidc/devenv/provision/state"
)

// PinnedCharts are the charts that devenv itself installs where pods run.
var PinnedCharts = []string{"dex", "cert-manager"}

// PinnedChart is the source of a chart that devenv itself installs.
func PinnedChart(pins profiles.Pins, name string) chart.Source {
	pin := pins.Charts[name]
	return chart.Source{Name: name, Repository: pin.Repository, Path: pin.Path, Version: pin.Version, SHA256: pin.SHA256}
}

// ProfileChart is the source of a chart of the profile; a sources file may have
// it elsewhere.
func ProfileChart(c profiles.Chart, pins profiles.Pins) chart.Source {
	if pin, ok := pins.Charts[c.Name]; ok && pin.Path != "" {
		return chart.Source{Name: c.Name, Path: pin.Path}
	}
	return chart.Source{Name: c.Name, Repository: c.Repository, Version: c.Version, SHA256: c.SHA256}
}

// FetchCharts fetches the named pinned charts and those of the profile while
// the clusters are created: a wrong digest, a missing network or values that
// cannot be rendered end `up` in its first second.
func FetchCharts(e *environment.Environment, pinned ...string) plan.Ensure {
	return func(context.Context) (changed bool, err error) {
		cache, err := state.CacheFolder("charts")
		if err != nil {
			return false, err
		}
		for _, name := range pinned {
			if _, err := PinnedChart(e.Record.Pins, name).Load(cache); err != nil {
				return false, failure.New(failure.Prerequisite, err, "without access to a registry, set DEVENV_SOURCES to a sources file; see profiles/README.md")
			}
		}
		return false, tryProfileCharts(e, cache)
	}
}

// tryProfileCharts renders the profile's charts with stand-ins for the values
// that are not known yet.
func tryProfileCharts(e *environment.Environment, cache string) error {
	known := func(name string) (string, error) {
		value, err := e.Value(name)
		if err != nil { // a CA that is made later
			return "not-known-yet", nil
		}
		return value, nil
	}
	for _, c := range e.Spec().Clusters {
		for _, x := range c.Charts {
			loaded, err := ProfileChart(x, e.Record.Pins).Load(cache)
			if err != nil {
				return failure.New(failure.Prerequisite, err, "without access to a network, name a folder in a sources file (DEVENV_SOURCES); see profiles/README.md")
			}
			values, err := profiles.FillAll(x.Values, known)
			if err == nil {
				err = chart.Render(chart.Release{Name: x.Release, Namespace: x.Namespace, Chart: loaded, Values: values}, c.KubernetesVersion)
			}
			if err != nil {
				return failure.New(failure.Usage, err, "correct its values in the profile: spec.clusters[].charts[].values")
			}
		}
	}
	return nil
}

// InstallPinnedChart installs a chart that devenv itself needs, into its
// namespace, with the profile's values laid over devenv's own.
func InstallPinnedChart(ctx context.Context, e *environment.Environment, admin *kube.Client, name string, release chart.Release, over map[string]any) (changed bool, err error) {
	cache, err := state.CacheFolder("charts")
	if err != nil {
		return false, err
	}
	if release.Chart, err = PinnedChart(e.Record.Pins, name).Load(cache); err != nil {
		return false, err
	}
	release.Values = chart.Overlay(release.Values, over)
	return chart.Ensure(ctx, admin, e.Log("helm-"+release.Name).Printf, release)
}

// installProfileCharts installs a profile's charts and waits for their
// Deployments.
func installProfileCharts(e *environment.Environment, c profiles.Cluster) plan.Ensure {
	return func(ctx context.Context) (changed bool, err error) {
		admin, err := e.Admin(c.Name)
		if err != nil {
			return false, err
		}
		cache, err := state.CacheFolder("charts")
		if err != nil {
			return false, err
		}
		limited, cancel := context.WithTimeoutCause(ctx, workloadLimit, fmt.Errorf("the limit of %s was reached", workloadLimit))
		defer cancel()
		for _, x := range c.Charts {
			loaded, err := ProfileChart(x, e.Record.Pins).Load(cache)
			if err != nil {
				return changed, err
			}
			values, err := environment.Fill(e, x.Values)
			if err != nil {
				return changed, err
			}
			made, err := admin.EnsureNamespace(ctx, x.Namespace)
			if err != nil {
				return changed || made, err
			}
			installed, err := chart.Ensure(ctx, admin, e.Log("helm-"+c.Name+"-"+x.Release).Printf,
				chart.Release{Name: x.Release, Namespace: x.Namespace, Chart: loaded, Values: values, Labels: profileLabels})
			changed = changed || made || installed
			if err != nil {
				return changed, err
			}
			if err := admin.WaitAvailableOf(limited, x.Namespace, "meta.helm.sh/release-name", x.Release); err != nil {
				return changed, err
			}
		}
		return changed, nil
	}
}

// Package chart installs charts with the Helm SDK, and is the only one that
// knows Helm.
package chart

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/action"
	helmchart "helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/cli"
	"helm.sh/helm/v3/pkg/getter"
	"helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
	"helm.sh/helm/v3/pkg/repo"
	"helm.sh/helm/v3/pkg/storage/driver"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"sigs.k8s.io/yaml"
)

// Source says where a chart comes from.
type Source struct {
	// Name of the chart.
	Name string
	// Repository is the https address of a chart repository.
	Repository string
	// Path of a folder or archive, instead of a repository.
	Path string
	// Version of the chart in the repository.
	Version string
	// SHA256 of the archive in hex; empty to accept any.
	SHA256 string
}

// Load reads a chart; one from a repository is downloaded once, verified and
// stored in the folder cache.
func (s Source) Load(cache string) (*helmchart.Chart, error) {
	path := s.Path
	if path == "" {
		var err error
		if path, err = s.download(cache); err != nil {
			return nil, fmt.Errorf("could not get the chart %s %s from %s: %w", s.Name, s.Version, s.Repository, err)
		}
	}
	chart, err := loader.Load(path)
	if err != nil {
		return nil, fmt.Errorf("could not load the chart %s from %s: %w", s.Name, path, err)
	}
	return chart, nil
}

// Save writes what Load reads as an archive of its own.
func (s Source) Save(cache, to string) error {
	chart, err := s.Load(cache)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp(filepath.Dir(to), ".chart-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	made, err := chartutil.Save(chart, folder)
	if err != nil {
		return fmt.Errorf("could not pack the chart %s: %w", s.Name, err)
	}
	return os.Rename(made, to)
}

func (s Source) download(cache string) (string, error) {
	from := sha256.Sum256([]byte(s.Repository)) // another repository may have another chart of that name
	kept := filepath.Join(cache, fmt.Sprintf("%s-%s-%x.tgz", s.Name, s.Version, from[:4]))
	if s.verify(kept) == nil {
		return kept, nil
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", err
	}
	temporary, err := os.MkdirTemp(cache, ".download-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temporary)
	settings := cli.New()
	settings.RepositoryCache, settings.RepositoryConfig = temporary, filepath.Join(temporary, "repositories.yaml")
	address, err := repo.FindChartInRepoURL(s.Repository, s.Name, s.Version, "", "", "", getter.All(settings))
	if err != nil {
		return "", err
	}
	// by address: a bare name would first be looked for in the current folder
	options := action.ChartPathOptions{Version: s.Version}
	fetched, err := options.LocateChart(address, settings)
	if err != nil {
		return "", err
	}
	if err := s.verify(fetched); err != nil {
		return "", err
	}
	return kept, os.Rename(fetched, kept)
}

func (s Source) verify(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	if have := hex.EncodeToString(sum[:]); s.SHA256 != "" && have != s.SHA256 {
		return fmt.Errorf("its SHA-256 is %s, not the pinned %s", have, s.SHA256)
	}
	return nil
}

// Release is a chart as it should be installed.
type Release struct {
	Name, Namespace string
	Chart           *helmchart.Chart
	Values          map[string]any
	// Labels of the Secret in which Helm stores the release, which Prune looks
	// for.
	Labels map[string]string
	// Adjust may change an object of the chart where its values offer no way;
	// nil for none.
	Adjust func(object map[string]any)
}

// Overlay lays values over others, as Helm does with several values files.
func Overlay(base, over map[string]any) map[string]any {
	return chartutil.CoalesceTables(copyOf(over), base)
}

func copyOf(values map[string]any) map[string]any {
	text, err := json.Marshal(values)
	if err != nil {
		panic(err) // made of YAML
	}
	out := map[string]any{}
	if err := json.Unmarshal(text, &out); err != nil {
		panic(err)
	}
	return out
}

// Ensure installs or upgrades a release, unless it is deployed with the same
// chart and values and all of its objects exist. It does not wait for pods.
// What an interrupted install or upgrade left is replaced.
func Ensure(ctx context.Context, client genericclioptions.RESTClientGetter, log func(string, ...any), r Release) (changed bool, err error) {
	config, err := configuration(client, log, r.Namespace)
	if err != nil {
		return false, err
	}
	last, err := config.Releases.Last(r.Name)
	if err != nil && !errors.Is(err, driver.ErrReleaseNotFound) {
		return false, fmt.Errorf("could not read the release %s: %w", r.Name, err)
	}
	values := copyOf(r.Values) // numbers and lists as a stored release has them
	if last != nil && matches(last, r.Chart, values) && complete(config, last) {
		return r.label(config, last)
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	switch {
	case last == nil:
		err = install(config, r, values)
	case last.Info.Status == release.StatusDeployed || last.Info.Status == release.StatusSuperseded || deployedBefore(config, r.Name):
		err = upgrade(config, r, values, last)
	default: // the first install did not go through
		uninstall := action.NewUninstall(config)
		if _, err = uninstall.Run(r.Name); err == nil {
			err = install(config, r, values)
		}
	}
	if err != nil {
		return false, fmt.Errorf("could not install the chart %s %s as release %s/%s: %w", r.Chart.Name(), r.Chart.Metadata.Version, r.Namespace, r.Name, err)
	}
	return true, nil
}

// configuration is Helm's for a namespace; "" for all.
func configuration(client genericclioptions.RESTClientGetter, log func(string, ...any), namespace string) (*action.Configuration, error) {
	config := new(action.Configuration)
	if err := config.Init(client, namespace, "secret", log); err != nil {
		return nil, fmt.Errorf("could not reach the releases in namespace %q: %w", namespace, err)
	}
	if helm, ok := config.KubeClient.(*kube.Client); ok {
		helm.Namespace = namespace
	}
	return config, nil
}

// label labels a release that was installed without.
func (r Release) label(config *action.Configuration, last *release.Release) (changed bool, err error) {
	labels := maps.Clone(last.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	if maps.Copy(labels, r.Labels); maps.Equal(labels, last.Labels) {
		return false, nil
	}
	last.Labels = labels
	return true, config.Releases.Update(last)
}

// Render tries whether a release can be made of its chart and values. It asks no
// cluster.
func Render(r Release, kubernetesVersion string) error {
	version, err := chartutil.ParseKubeVersion(kubernetesVersion)
	if err != nil {
		return err
	}
	a := action.NewInstall(&action.Configuration{Log: func(string, ...any) {}})
	a.KubeVersion = version // else Helm takes one of years ago, which many charts reject
	a.ReleaseName, a.Namespace, a.DryRun, a.ClientOnly, a.Replace, a.IncludeCRDs = r.Name, r.Namespace, true, true, true, true
	if _, err := a.Run(r.Chart, copyOf(r.Values)); err != nil {
		return fmt.Errorf("could not render the chart %s %s as release %s/%s: %w", r.Chart.Name(), r.Chart.Metadata.Version, r.Namespace, r.Name, err)
	}
	return nil
}

func matches(last *release.Release, chart *helmchart.Chart, values map[string]any) bool {
	if last.Info.Status != release.StatusDeployed || last.Chart.Metadata.Version != chart.Metadata.Version {
		return false
	}
	have, _ := json.Marshal(copyOf(last.Config))
	want, _ := json.Marshal(values)
	return bytes.Equal(have, want)
}

// complete says whether every object of a release is in the cluster.
func complete(config *action.Configuration, last *release.Release) bool {
	resources, err := config.KubeClient.Build(strings.NewReader(last.Manifest), false)
	if err != nil {
		return false
	}
	for _, info := range resources {
		if err := info.Get(); apierrors.IsNotFound(err) {
			return false
		}
	}
	return true
}

func deployedBefore(config *action.Configuration, name string) bool {
	_, err := config.Releases.Deployed(name)
	return err == nil
}

// hookLimit is how long each hook of a chart takes at most: Helm waits for them, and
// takes no context.
const hookLimit = 2 * time.Minute

func install(config *action.Configuration, r Release, values map[string]any) error {
	a := action.NewInstall(config)
	a.ReleaseName, a.Namespace, a.Timeout = r.Name, r.Namespace, hookLimit
	a.PostRenderer, a.Labels = adjuster(r.Adjust), r.Labels
	_, err := a.Run(r.Chart, values)
	return err
}

func upgrade(config *action.Configuration, r Release, values map[string]any, last *release.Release) error {
	if last.Info.Status.IsPending() {
		last.Info.Status = release.StatusFailed // whoever held it is gone: we have the lock
		if err := config.Releases.Update(last); err != nil {
			return err
		}
	}
	a := action.NewUpgrade(config)
	a.Namespace, a.MaxHistory, a.ResetValues, a.Timeout = r.Namespace, 5, true, hookLimit
	a.PostRenderer, a.Labels = adjuster(r.Adjust), r.Labels
	_, err := a.Run(r.Name, r.Chart, values)
	return err
}

// adjuster applies Release.Adjust to what Helm rendered.
type adjuster func(map[string]any)

// Run implements Helm's PostRenderer.
func (adjust adjuster) Run(rendered *bytes.Buffer) (*bytes.Buffer, error) {
	if adjust == nil {
		return rendered, nil
	}
	out := &bytes.Buffer{}
	manifests := releaseutil.SplitManifests(rendered.String())
	names := slices.Collect(maps.Keys(manifests))
	sort.Sort(releaseutil.BySplitManifestsOrder(names)) // Helm sorted them by kind, and installs them as they come
	for _, name := range names {
		object := map[string]any{}
		if err := yaml.Unmarshal([]byte(manifests[name]), &object); err != nil {
			return nil, err
		}
		if len(object) == 0 {
			continue // a template that rendered nothing
		}
		adjust(object)
		text, err := yaml.Marshal(object)
		if err != nil {
			return nil, err
		}
		out.WriteString("---\n")
		out.Write(text)
	}
	return out, nil
}

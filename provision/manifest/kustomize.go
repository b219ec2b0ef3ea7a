//lint:file-ignore SA1019 kustomize reads its deprecated fields too

package manifest

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

func isKustomization(name string) bool {
	return slices.Contains(konfig.RecognizedKustomizationFileNames(), path.Base(name))
}

// kustomize builds a kustomization of the repository. What it takes from
// elsewhere is refused by name: no hash verifies it.
func (f files) kustomize(where string) ([]byte, error) {
	if err := f.elsewhere(where, map[string]bool{}); err != nil {
		return nil, err
	}
	memory := filesys.MakeFsInMemory()
	for name, read := range f {
		text, err := read()
		if err == nil {
			err = memory.WriteFile("/"+name, text)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(memory, "/"+where)
	if err != nil {
		return nil, fmt.Errorf("kustomize %s: %w", where, err)
	}
	return built.AsYaml()
}

// elsewhere names what the kustomization in a folder, and those that it takes,
// take from outside the repository.
func (f files) elsewhere(folder string, seen map[string]bool) (refused error) {
	if seen[folder] {
		return nil
	}
	seen[folder] = true
	for _, file := range konfig.RecognizedKustomizationFileNames() {
		name := path.Join(folder, file)
		read, ok := f[name]
		if !ok {
			continue
		}
		text, err := read()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		var k types.Kustomization
		if err := yaml.Unmarshal(text, &k); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if len(k.HelmCharts) > 0 || len(k.HelmChartInflationGenerator) > 0 || k.HelmGlobals != nil {
			refused = errors.Join(refused, fmt.Errorf("%s takes Helm charts, which a profile has under charts", name))
		}
		for _, entry := range slices.Concat(k.Generators, k.Transformers, k.Validators) {
			refused = errors.Join(refused, f.plugins(path.Join(folder, entry)))
		}
		for _, entry := range taken(k) {
			where := path.Join(folder, entry)
			if !f.has(where) {
				refused = errors.Join(refused, fmt.Errorf("%s takes %q, which is not in the repository", name, entry))
				continue
			}
			refused = errors.Join(refused, f.elsewhere(where, seen))
		}
	}
	return refused
}

// plugins refuses configurations of generators and the like that have an address
// in them: what they read is theirs to say, and kustomize would fetch it.
func (f files) plugins(where string) error {
	var refused error
	for name, read := range f {
		if name != where && !strings.HasPrefix(name, where+"/") {
			continue
		}
		if text, err := read(); err != nil || strings.Contains(string(text), "://") {
			refused = errors.Join(refused, err, fmt.Errorf("%s has an address in it, and what it leads to is not in the repository", name))
		}
	}
	return refused
}

// taken are the paths of all that a kustomization reads, deprecated fields
// included, since kustomize reads them too.
func taken(k types.Kustomization) []string {
	list := slices.Concat(k.Resources, k.Components, k.Bases, k.Crds, k.Configurations, k.Generators, k.Transformers, k.Validators)
	for _, p := range slices.Concat(k.Patches, k.PatchesJson6902) {
		list = append(list, p.Path)
	}
	for _, p := range k.PatchesStrategicMerge {
		if !strings.Contains(string(p), "\n") { // else it is the patch itself
			list = append(list, string(p))
		}
	}
	for _, r := range k.Replacements {
		list = append(list, r.Path)
	}
	sources := []types.KvPairSources{}
	for _, g := range k.ConfigMapGenerator {
		sources = append(sources, g.KvPairSources)
	}
	for _, g := range k.SecretGenerator {
		sources = append(sources, g.KvPairSources)
	}
	for _, s := range sources {
		list = append(list, s.EnvSource)
		list = append(list, s.EnvSources...)
		for _, file := range s.FileSources {
			_, value, named := strings.Cut(file, "=")
			if !named {
				value = file
			}
			list = append(list, value)
		}
	}
	list = append(list, k.OpenAPI["path"])
	return slices.DeleteFunc(list, func(entry string) bool { return entry == "" })
}

// has says whether a file or a folder is in the repository.
func (f files) has(where string) bool {
	for name := range f {
		if where == "." || name == where || strings.HasPrefix(name, where+"/") {
			return true
		}
	}
	return false
}

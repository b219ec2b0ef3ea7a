package profiles

import (
	_ "embed"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"sigs.k8s.io/yaml"
)

//go:embed pins.yaml
var pinsYAML []byte

// Pins is pins.yaml: the one home of every version that devenv installs.
type Pins struct {
	// DefaultKubernetes is the version of a cluster that names none. A sources
	// file cannot change it.
	DefaultKubernetes string `json:"defaultKubernetes,omitempty"`
	// NodeImages by Kubernetes version.
	NodeImages map[string]NodeImagePin `json:"nodeImages,omitempty"`
	// Manifests of profiles: files in the place of their addresses, folders in
	// that of their repositories.
	Manifests map[string]string `json:"manifests,omitempty"`
	// Charts by name.
	Charts map[string]ChartPin `json:"charts,omitempty"`
	// Dex are versions of Dex beside that of its chart, by name.
	Dex map[string]DexPin `json:"dex,omitempty"`
	// Images that profiles name by ${images.NAME}.
	Images map[string]ImagePin `json:"images,omitempty"`
	// Programs of the process runtime that are files already. Those that are
	// not named are taken out of the node image and of Dex's image.
	Programs Programs `json:"programs,omitzero"`
}

// Programs are files by the name they are called by: one that dispatches on its
// name may stand there several times.
type Programs struct {
	// Kubernetes by version and then by name: etcd, kube-apiserver,
	// kube-controller-manager, kubectl.
	Kubernetes map[string]map[string]string `json:"kubernetes,omitempty"`
	// Dex by the tag of its image.
	Dex map[string]string `json:"dex,omitempty"`
}

// NodeImagePin is one kind node image.
type NodeImagePin struct {
	// Image as a reference, with digest where it comes from a registry.
	Image string `json:"image"`
	// Archive holds the image, as `docker save` writes it; empty where it comes
	// from a registry.
	Archive string `json:"archive,omitempty"`
}

// ChartPin is one chart and the images its pods run.
type ChartPin struct {
	// Repository is the https address of the chart repository.
	Repository string `json:"repository,omitempty"`
	// Path of a folder or an archive that holds the chart; empty where it comes
	// from the repository.
	Path string `json:"path,omitempty"`
	// Version of the chart.
	Version string `json:"version"`
	// SHA256 of the chart archive, in hex; empty where none is pinned.
	SHA256 string `json:"sha256,omitempty"`
	// Images that the chart's pods run, by the key of the chart's values under
	// which each is set ("" for the top).
	Images map[string]ImagePin `json:"images"`
}

// DexPin is a version of Dex that a profile may ask for.
type DexPin struct {
	Image ImagePin `json:"image"`
	// Grants that it has and the chart's own version has not.
	Grants []string `json:"grants,omitempty"`
}

// DexImage is the image of a version of Dex; "" is that of its chart.
func (p Pins) DexImage(version string) ImagePin {
	if pin, ok := p.Dex[version]; ok {
		return pin.Image
	}
	return p.Charts["dex"].Images[""]
}

// DexHas says whether a version of Dex has a grant that not all of them have.
func (p Pins) DexHas(version, grant string) bool {
	return slices.Contains(p.Dex[version].Grants, grant)
}

func (p Pins) knowsDex(version string) bool {
	_, ok := p.Dex[version]
	return ok
}

// dexWith are the versions that have a grant.
func (p Pins) dexWith(grant string) []string {
	var versions []string
	for _, v := range slices.Sorted(maps.Keys(p.Dex)) {
		if p.DexHas(v, grant) {
			versions = append(versions, v)
		}
	}
	return versions
}

// ImagePin is one container image.
type ImagePin struct {
	Repository string `json:"repository"`
	Tag        string `json:"tag"`
	// Digest as in sha256:…; empty where none is pinned.
	Digest string `json:"digest,omitempty"`
	// Archive holds the image, as `docker save` writes it; empty where it comes
	// from a registry.
	Archive string `json:"archive,omitempty"`
}

// Pinned is the image as a reference with its digest, if it has one.
func (i ImagePin) Pinned() string {
	if i.Digest == "" {
		return i.Ref()
	}
	return i.Repository + "@" + i.Digest
}

// Ref is the image as a reference without digest, repository:tag.
func (i ImagePin) Ref() string { return i.Repository + ":" + i.Tag }

// Pinned returns the versions this devenv was made for.
var Pinned = sync.OnceValue(func() Pins {
	var p Pins
	if err := yaml.UnmarshalStrict(pinsYAML, &p); err != nil {
		panic(fmt.Sprintf("profiles/pins.yaml: %v", err)) // embedded: a test reads it
	}
	return p
})

// PinnedWith returns the pins with those of a sources file laid over them: the
// same format, read where images and charts come from archives and folders
// instead of their registries. Relative paths count from the file's folder.
// With an empty path it returns the pins alone.
func PinnedWith(sourcesFile string) (Pins, error) {
	pins := Pinned()
	if sourcesFile == "" {
		return pins, nil
	}
	text, err := os.ReadFile(sourcesFile)
	if err != nil {
		return Pins{}, fmt.Errorf("could not read the sources file: %w", err)
	}
	var sources Pins
	if err := yaml.UnmarshalStrict(text, &sources); err != nil {
		return Pins{}, fmt.Errorf("could not read the sources file %s: %w", sourcesFile, err)
	}
	absolute := func(path string) string {
		if path == "" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(filepath.Dir(sourcesFile), path)
	}
	pins.NodeImages = maps.Clone(pins.NodeImages)
	for version, n := range sources.NodeImages {
		n.Archive = absolute(n.Archive)
		pins.NodeImages[version] = n
	}
	pins.Programs = sources.Programs
	for _, files := range append(slices.Collect(maps.Values(pins.Programs.Kubernetes)), pins.Programs.Dex) {
		for name, file := range files {
			files[name] = absolute(file)
		}
	}
	pins.Dex = map[string]DexPin{}
	maps.Copy(pins.Dex, Pinned().Dex)
	for version, d := range sources.Dex {
		pin := pins.Dex[version]
		pin.Image = d.Image
		pin.Image.Archive = absolute(pin.Image.Archive)
		pins.Dex[version] = pin
	}
	pins.Images = map[string]ImagePin{}
	maps.Copy(pins.Images, Pinned().Images)
	for name, image := range sources.Images {
		image.Archive = absolute(image.Archive)
		pins.Images[name] = image
	}
	pins.Manifests = map[string]string{}
	for address, file := range sources.Manifests {
		pins.Manifests[address] = absolute(file)
	}
	pins.Charts = maps.Clone(pins.Charts)
	for name, c := range sources.Charts {
		pins.Charts[name] = pins.Charts[name].with(c, absolute)
	}
	return pins, nil
}

// with lays another pin's fields over this one's. A chart from a path has no
// pinned digest.
func (c ChartPin) with(over ChartPin, absolute func(string) string) ChartPin {
	if over.Repository != "" {
		c.Repository = over.Repository
	}
	if over.Version != "" {
		c.Version = over.Version
	}
	if over.SHA256 != "" || over.Path != "" || over.Repository != "" {
		c.SHA256 = over.SHA256
	}
	c.Path = absolute(over.Path)
	c.Images = maps.Clone(c.Images)
	for key, image := range over.Images {
		image.Archive = absolute(image.Archive)
		c.Images[key] = image
	}
	return c
}

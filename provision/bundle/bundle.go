package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/cluster"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/identity"
	"github.com/devenv-oidc/devenv/provision/image"
	"github.com/devenv-oidc/devenv/provision/processruntime"
	"github.com/devenv-oidc/devenv/provision/programs"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/state"
	"github.com/devenv-oidc/devenv/provision/steps"
)

// Request asks for a bundle.
type Request struct {
	Profile *profiles.Environment
	Pins    profiles.Pins
	// Sources is the path of the sources file that the pins are from, or empty.
	Sources string
	// Runtime that the bundle is for: kind or process.
	Runtime string
	// Engine has the images that the profile names by clusters[].images; nil with
	// process.
	Engine *cluster.Engine
	// Devenv is the program's version.
	Devenv string
	// File to write; what is there is replaced when the bundle is complete.
	File string
	// Say hears of each thing that is put in.
	Say func(what string)
}

// Write collects everything and writes the bundle.
func Write(ctx context.Context, r Request) error {
	staging, err := os.MkdirTemp(filepath.Dir(r.File), ".bundle-")
	if err != nil {
		return failure.New(failure.Usage, fmt.Errorf("could not write the bundle %s: %w", r.File, err), "name a FILE in a folder that is there and can be written")
	}
	defer os.RemoveAll(staging)
	c := &collector{Request: r, staging: staging, profile: *r.Profile, sources: profiles.Pins{
		NodeImages: map[string]profiles.NodeImagePin{}, Manifests: map[string]string{}, Charts: map[string]profiles.ChartPin{},
		Dex: map[string]profiles.DexPin{}, Images: map[string]profiles.ImagePin{},
	}, commits: map[string]string{}}
	collect := []func(context.Context) error{c.charts, c.manifests, c.images}
	if r.Runtime == profiles.RuntimeProcess {
		collect = []func(context.Context) error{c.manifests, c.programs}
	}
	for _, part := range collect {
		if err := part(ctx); err != nil {
			return fmt.Errorf("could not write the bundle %s: %w", r.File, err)
		}
	}
	c.profile.Spec.Runtime = r.Runtime
	issuer, err := record.SelfContained(c.profile.Spec.Issuer)
	if err != nil {
		return err
	}
	c.profile.Spec.Issuer = issuer
	if err := errors.Join(c.write(profileFile, c.profile), c.write(sourcesFile, c.sources)); err != nil {
		return err
	}
	m := Manifest{Devenv: r.Devenv, Platform: runtime.GOOS + "/" + runtime.GOARCH, Profile: r.Profile.Metadata.Name, Runtime: r.Runtime}
	if err := pack(ctx, m, staging, r.File); err != nil {
		return fmt.Errorf("could not write the bundle %s: %w", r.File, err)
	}
	return nil
}

// collector puts files into the staging folder, and what stands for them into a
// sources file.
type collector struct {
	Request
	staging string
	profile profiles.Environment
	sources profiles.Pins
	commits map[string]string // of repositories
}

func (c *collector) write(name string, value any) error {
	text, err := yaml.Marshal(value)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.staging, name), text, 0o600)
}

// put makes the file or folder at a path of the bundle, once.
func (c *collector) put(what, path string, make func(to string) error) (string, error) {
	to := filepath.Join(c.staging, path)
	if _, err := os.Stat(to); err == nil {
		return path, nil
	}
	c.Say(what)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return "", err
	}
	return path, make(to)
}

// archive puts an image in: the archive that a sources file names, or what its
// registry has.
func (c *collector) archive(ctx context.Context, ref, pinned, archive string) (path string, err error) {
	name := hex.EncodeToString(hash(ref + archive))[:16] + ".tar"
	if archive != "" {
		name = hex.EncodeToString(hash(archive))[:8] + "-" + filepath.Base(archive) // it may hold several
	}
	return c.put("image "+ref, filepath.Join("images", name), func(to string) error {
		if archive != "" {
			return copyFile(ctx, archive, to)
		}
		return image.Fetch(ctx, pinned, ref, to)
	})
}

func (c *collector) pin(ctx context.Context, pin profiles.ImagePin) (profiles.ImagePin, error) {
	path, err := c.archive(ctx, pin.Ref(), pin.Pinned(), pin.Archive)
	pin.Archive, pin.Digest = path, "" // the file is what it is verified by
	return pin, err
}

// images are all that run on nodes, and the nodes' own.
func (c *collector) images(ctx context.Context) error {
	c.profile.Spec.Clusters = slices.Clone(c.profile.Spec.Clusters)
	for i := range c.profile.Spec.Clusters {
		k := &c.profile.Spec.Clusters[i]
		node := c.Pins.NodeImages[k.KubernetesVersion]
		if k.Image != "" {
			node = profiles.NodeImagePin{Image: k.Image}
		}
		ref, _, _ := strings.Cut(node.Image, "@")
		if node.Archive == "" { // a name of its own: an engine may have another image under this one
			ref += "-" + hex.EncodeToString(hash(node.Image))[:8]
		}
		if other, taken := c.sources.NodeImages[k.KubernetesVersion]; taken && other.Image != ref {
			return fmt.Errorf("clusters with Kubernetes %s have two node images, %s and %s, and a bundle can hold one", k.KubernetesVersion, other.Image, ref)
		}
		path, err := c.archive(ctx, ref, node.Image, node.Archive)
		if err != nil {
			return err
		}
		c.sources.NodeImages[k.KubernetesVersion], k.Image = profiles.NodeImagePin{Image: ref, Archive: path}, ""
		names := c.profile.PodImages(*k)
		if k.Several() {
			names = append(names, profiles.LoadBalancerImage)
		}
		for _, name := range names {
			if c.sources.Images[name], err = c.pin(ctx, c.Pins.Images[name]); err != nil {
				return err
			}
		}
		if k.Images, err = c.local(ctx, k.Images); err != nil {
			return err
		}
	}
	for name, chart := range c.sources.Charts {
		for key, pin := range c.Pins.Charts[name].Images {
			var err error
			if chart.Images[key], err = c.pin(ctx, pin); err != nil {
				return err
			}
		}
	}
	return c.dex(ctx)
}

// dex is the version that the profile asks for, if that is not the chart's.
func (c *collector) dex(ctx context.Context) (err error) {
	pin, ok := c.Pins.Dex[c.profile.Spec.Dex.Version]
	if !ok {
		return nil
	}
	pin.Image, err = c.pin(ctx, pin.Image)
	c.sources.Dex[c.profile.Spec.Dex.Version] = pin
	return err
}

// local are the images of this machine that the profile names; in the bundle's
// profile they are archives.
func (c *collector) local(ctx context.Context, names []string) (paths []string, err error) {
	for _, name := range names {
		to := filepath.Join("local", hex.EncodeToString(hash(name))[:16]+".tar")
		_, err := c.put("image "+name, to, func(to string) error {
			if info, err := os.Stat(name); err == nil {
				if info.IsDir() {
					return fmt.Errorf("the image %s is a folder; name a tar file", name)
				}
				return copyFile(ctx, name, to)
			}
			found, err := c.Engine.Local(ctx, name)
			if err != nil {
				return err
			}
			return create(to, func(w io.Writer) error { return found.Save(ctx, w) })
		})
		if err != nil {
			return nil, err
		}
		paths = append(paths, Prefix+filepath.ToSlash(to))
	}
	return paths, nil
}

// Prefix stands before paths in a bundle's profile; Opened.Load puts the folder
// in its place.
const Prefix = "bundle:"

// charts are devenv's own and the profile's.
func (c *collector) charts(context.Context) error {
	cache, err := state.CacheFolder("charts")
	if err != nil {
		return err
	}
	for _, name := range steps.PinnedCharts {
		pin := c.Pins.Charts[name]
		path, err := c.put("chart "+name+" "+pin.Version, filepath.Join("charts", name+".tgz"), func(to string) error {
			return steps.PinnedChart(c.Pins, name).Save(cache, to)
		})
		if err != nil {
			return err
		}
		c.sources.Charts[name] = profiles.ChartPin{Version: pin.Version, Path: path, Images: map[string]profiles.ImagePin{}}
	}
	for _, k := range c.profile.Spec.Clusters {
		for _, x := range k.Charts {
			if _, own := c.sources.Charts[x.Name]; own {
				continue
			}
			path, err := c.put("chart "+x.Name+" "+x.Version, filepath.Join("charts", x.Name+".tgz"), func(to string) error {
				return steps.ProfileChart(x, c.Pins).Save(cache, to)
			})
			if err != nil {
				return err
			}
			c.sources.Charts[x.Name] = profiles.ChartPin{Version: x.Version, Path: path, Images: map[string]profiles.ImagePin{}}
		}
	}
	return nil
}

func (c *collector) manifests(ctx context.Context) error {
	cache, err := state.CacheFolder("manifests")
	if err != nil {
		return err
	}
	for _, k := range c.profile.Spec.Clusters {
		for _, m := range k.Manifests {
			if other, seen := c.commits[m.Address()]; seen && other != m.Commit {
				return fmt.Errorf("the repository %s is there at two commits, and a bundle can hold one", m.Address())
			}
			c.commits[m.Address()] = m.Commit
			path, err := c.put("manifest "+m.Address(), filepath.Join("manifests", hex.EncodeToString(hash(m.Address()))[:16]), func(to string) error {
				return environment.ManifestSource(c.Pins, m).Save(ctx, cache, to)
			})
			if err != nil {
				return err
			}
			c.sources.Manifests[m.Address()] = path
		}
	}
	return nil
}

// programs are what plain processes run.
func (c *collector) programs(ctx context.Context) error {
	c.sources.Programs = profiles.Programs{Kubernetes: map[string]map[string]string{}, Dex: map[string]string{}}
	add := func(into map[string]string, prefix string, files map[string]string) error {
		for _, name := range slices.Sorted(maps.Keys(files)) {
			path, err := c.put("program "+name, filepath.Join("programs", prefix, name), func(to string) error {
				if err := copyFile(ctx, files[name], to); err != nil {
					return err
				}
				return os.Chmod(to, 0o700)
			})
			if err != nil {
				return err
			}
			into[name] = path
		}
		return nil
	}
	for _, k := range c.profile.Spec.Clusters {
		version := k.KubernetesVersion
		node := c.Pins.NodeImages[version]
		files, _, err := processruntime.EnsureFiles(ctx, c.Sources, c.Pins.Programs.Kubernetes[version], programs.Source{Image: node.Image, Archive: node.Archive}, processruntime.KubernetesPrograms)
		if err != nil {
			return err
		}
		into := map[string]string{}
		c.sources.Programs.Kubernetes[version] = into
		if err := add(into, version, files); err != nil {
			return err
		}
		ref, _, _ := strings.Cut(node.Image, "@")
		c.sources.NodeImages[version] = profiles.NodeImagePin{Image: ref} // that the version is known
	}
	if c.profile.Spec.Issuer != nil {
		return nil
	}
	dex := c.Pins.DexImage(c.profile.Spec.Dex.Version)
	files, _, err := processruntime.EnsureFiles(ctx, c.Sources, map[string]string{identity.Program: c.Pins.Programs.Dex[dex.Tag]}, programs.Source{Image: dex.Pinned(), Archive: dex.Archive}, []string{identity.Program})
	if err != nil {
		return err
	}
	into := map[string]string{}
	if err := add(into, dex.Tag, files); err != nil {
		return err
	}
	c.sources.Programs.Dex[dex.Tag] = into[identity.Program]
	return nil
}

// Load reads the bundle's profile, with changes as by --set.
func (o *Opened) Load(set ...string) (*profiles.Environment, error) {
	profile, err := profiles.LoadFile(o.Profile(), set...)
	if err != nil {
		return nil, err
	}
	for i := range profile.Spec.Clusters {
		for j, name := range profile.Spec.Clusters[i].Images {
			if path, ours := strings.CutPrefix(name, Prefix); ours {
				profile.Spec.Clusters[i].Images[j] = filepath.Join(o.folder, filepath.FromSlash(path))
			}
		}
	}
	return profile, nil
}

func hash(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

func copyFile(ctx context.Context, from, to string) error {
	return create(to, func(w io.Writer) error { return copyFrom(ctx, w, from) })
}

func create(to string, write func(io.Writer) error) error {
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

package main

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/klauspost/compress/zstd"
)

const manifestName = "lab.json"

// manifest lists the artifacts in a saved cache. Their names hold their keys.
type manifest struct {
	Artifacts []string `json:"artifacts"`
}

// save writes the artifacts of the current inputs.
func (l *lab) save(ctx context.Context, file string) error {
	if err := l.engine(ctx); err != nil {
		return err
	}
	if _, _, err := l.sources(ctx); err != nil {
		return err
	}
	names, err := l.names(ctx)
	if err != nil {
		return err
	}
	out, err := os.CreateTemp(filepath.Dir(file), ".lab-save-*")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	compressor, err := zstd.NewWriter(out, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(128<<20))
	if err != nil {
		return err
	}
	archive := tar.NewWriter(compressor)
	text, err := json.Marshal(manifest{Artifacts: names})
	if err != nil {
		return err
	}
	if err := archive.WriteHeader(&tar.Header{Name: manifestName, Mode: 0o644, Size: int64(len(text))}); err != nil {
		return err
	}
	if _, err := archive.Write(text); err != nil {
		return err
	}
	for _, name := range names {
		if err := addTree(archive, l.cache, name); err != nil {
			return err
		}
	}
	if err := errors.Join(archive.Close(), compressor.Close(), out.Close()); err != nil {
		return err
	}
	info, err := os.Stat(out.Name())
	if err != nil {
		return err
	}
	say("saved %d artifacts in %s, %d MB", len(names), file, info.Size()>>20)
	return os.Rename(out.Name(), file)
}

// names are the artifacts that the inputs here lead to: what devenv reads
// through the sources file, nothing that only building needs.
func (l *lab) names(ctx context.Context) ([]string, error) {
	kind, err := moduleDir(ctx, l.root, "sigs.k8s.io/kind")
	if err != nil {
		return nil, err
	}
	node, nodeErr := l.nodeKey(kind)
	dex, dexErr := l.imageKey("dex")
	certManager, certManagerErr := l.imageKey("certmanager")
	preview, previewErr := l.imageKey("dexpreview")
	caddy, caddyErr := l.imageKey("caddy")
	proxy, proxyErr := l.imageKey("oauth2proxy")
	klutch, klutchErr := l.klutchKey()
	charts, chartsErr := l.chartsKey()
	return []string{
		"node-" + node + ".tar", "image-dex-" + dex + ".tar", "image-certmanager-" + certManager + ".tar", "charts-" + charts,
		"image-dexpreview-" + preview + ".tar", "image-caddy-" + caddy + ".tar", "image-oauth2proxy-" + proxy + ".tar",
		"image-klutch-" + klutch + ".tar", "manifests-" + klutch,
	}, errors.Join(nodeErr, dexErr, certManagerErr, previewErr, caddyErr, proxyErr, klutchErr, chartsErr)
}

func addTree(archive *tar.Writer, cache, name string) error {
	return filepath.WalkDir(filepath.Join(cache, name), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(cache, path)
		if err != nil {
			return err
		}
		if err := archive.WriteHeader(&tar.Header{Name: relative, Mode: 0o644, Size: info.Size()}); err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(archive, f)
		return err
	})
}

// load reads a saved cache, if it was made from the inputs that are here.
func (l *lab) load(ctx context.Context, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	decompressor, err := zstd.NewReader(f, zstd.WithDecoderMaxWindow(128<<20))
	if err != nil {
		return err
	}
	defer decompressor.Close()
	archive := tar.NewReader(decompressor)
	header, err := archive.Next()
	if err != nil || header.Name != manifestName {
		return fmt.Errorf("%s is not a saved lab", file)
	}
	var m manifest
	if err := json.NewDecoder(archive).Decode(&m); err != nil {
		return fmt.Errorf("%s is not a saved lab: %w", file, err)
	}
	wanted, err := l.names(ctx)
	if err != nil {
		return err
	}
	for _, w := range wanted {
		if !slices.Contains(m.Artifacts, w) {
			return &hintedError{fmt.Errorf("%s was saved from other inputs: it has no %s", file, w), "run `make lab` to build it, or check out the revision that saved it"}
		}
	}
	temporary, err := os.MkdirTemp(l.cache, "load-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if !filepath.IsLocal(header.Name) {
			return fmt.Errorf("%s has a file outside of it: %s", file, header.Name)
		}
		if err := extract(archive, filepath.Join(temporary, header.Name)); err != nil {
			return err
		}
	}
	for _, w := range wanted {
		to := filepath.Join(l.cache, w)
		if err := os.RemoveAll(to); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(temporary, w), to); err != nil {
			return err
		}
	}
	say("loaded %d artifacts from %s", len(wanted), file)
	return nil
}

func extract(from io.Reader, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}

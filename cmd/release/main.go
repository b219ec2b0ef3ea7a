// Command release makes the archives of a release: for every target a tar.gz
// with the program, its man page, completions and licence, a bill of materials
// beside it, and one file of checksums. The same commit gives the same bytes.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

func main() {
	out := flag.String("out", "bin/release", "`folder` for the archives")
	version := flag.String("version", "unknown", "version that the program says it is")
	targets := flag.String("targets", "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64", "what to build for, `OS/ARCH`, separated by commas")
	flag.Parse()
	if err := release(*out, *version, strings.Split(*targets, ",")); err != nil {
		fmt.Fprintf(os.Stderr, "error: could not make the release: %v\n", err)
		os.Exit(1)
	}
}

func release(out, version string, targets []string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	when, err := commitTime()
	if err != nil {
		return err
	}
	// the texts are the same for every target; the program for this machine has them
	work, err := os.MkdirTemp("", "devenv-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	own := filepath.Join(work, "devenv")
	if err := build(own, version, runtime.GOOS, runtime.GOARCH); err != nil {
		return err
	}
	texts, err := textsOf(own)
	if err != nil {
		return err
	}
	var sums bytes.Buffer
	for _, target := range slices.Sorted(slices.Values(targets)) {
		system, architecture, ok := strings.Cut(target, "/")
		if !ok {
			return fmt.Errorf("the target %q is not OS/ARCH", target)
		}
		name := fmt.Sprintf("devenv_%s_%s_%s", strings.TrimPrefix(version, "v"), system, architecture)
		program := filepath.Join(work, name)
		if err := build(program, version, system, architecture); err != nil {
			return err
		}
		binary, err := os.ReadFile(program)
		if err != nil {
			return err
		}
		files := append([]file{{"devenv", 0o755, binary}}, texts...)
		archive, err := pack(files, when)
		if err != nil {
			return err
		}
		bill, err := bill(program, version)
		if err != nil {
			return err
		}
		for _, made := range []file{{name: name + ".tar.gz", content: archive}, {name: name + ".cdx.json", content: bill}} {
			if err := os.WriteFile(filepath.Join(out, made.name), made.content, 0o644); err != nil {
				return err
			}
			fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(made.content), made.name)
		}
		fmt.Fprintf(os.Stderr, "made %s\n", filepath.Join(out, name+".tar.gz"))
	}
	return os.WriteFile(filepath.Join(out, "checksums.txt"), sums.Bytes(), 0o644)
}

// build leaves out whatever differs between machines: paths, cgo, build ids.
func build(to, version, system, architecture string) error {
	c := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w -buildid= -X main.version="+version, "-o", to, "./cmd/devenv")
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOOS="+system, "GOARCH="+architecture)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("go build for %s/%s: %w\n%s", system, architecture, err, out)
	}
	return nil
}

type file struct {
	name    string
	mode    int64
	content []byte
}

// textsOf are the files beside the program.
func textsOf(program string) ([]file, error) {
	var files []file
	for name, args := range map[string][]string{
		"man/man1/devenv.1":       {"man"},
		"completions/bash/devenv": {"completion", "bash"},
		"completions/zsh/_devenv": {"completion", "zsh"},
		"completions/devenv.fish": {"completion", "fish"},
		"schemas/profile.json":    {"profiles", "schema"},
		"schemas/status.json":     {"schema", "status"},
	} {
		text, err := exec.Command(program, args...).Output()
		if err != nil {
			return nil, fmt.Errorf("devenv %s: %w", strings.Join(args, " "), err)
		}
		files = append(files, file{name, 0o644, text})
	}
	for _, name := range []string{"LICENSE", "README.md"} {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		files = append(files, file{name, 0o644, text})
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	return files, nil
}

func pack(files []file, when time.Time) ([]byte, error) {
	var out bytes.Buffer
	compressed, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	archive := tar.NewWriter(compressed)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content)), ModTime: when, Format: tar.FormatUSTAR}
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := archive.Write(f.content); err != nil {
			return nil, err
		}
	}
	for _, closer := range []io.Closer{archive, compressed} {
		if err := closer.Close(); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// bill is what a program is made of, as its own build information says
// (CycloneDX 1.5, https://cyclonedx.org/docs/1.5/json/).
func bill(program, version string) ([]byte, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return nil, err
	}
	type property struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	type component struct {
		Type       string     `json:"type"`
		Name       string     `json:"name"`
		Version    string     `json:"version"`
		PURL       string     `json:"purl,omitempty"`
		Properties []property `json:"properties,omitempty"`
	}
	components := []component{{Type: "platform", Name: "go", Version: info.GoVersion}}
	for _, d := range info.Deps {
		if d.Replace != nil {
			d = d.Replace
		}
		components = append(components, component{
			Type: "library", Name: d.Path, Version: d.Version, PURL: "pkg:golang/" + d.Path + "@" + d.Version,
			Properties: []property{{"go.sum", d.Sum}},
		})
	}
	text, err := json.MarshalIndent(map[string]any{
		"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
		"metadata":   map[string]any{"component": component{Type: "application", Name: info.Main.Path, Version: version}},
		"components": components,
	}, "", "  ")
	return append(text, '\n'), err
}

// commitTime is that of the commit, or SOURCE_DATE_EPOCH
// (https://reproducible-builds.org/specs/source-date-epoch/).
func commitTime() (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		out, err := exec.Command("git", "log", "-1", "--format=%ct").Output()
		if err != nil {
			return time.Time{}, fmt.Errorf("git log: %w; without git set SOURCE_DATE_EPOCH", err)
		}
		text = strings.TrimSpace(string(out))
	}
	var seconds int64
	if _, err := fmt.Sscan(text, &seconds); err != nil {
		return time.Time{}, fmt.Errorf("the time %q is no number of seconds: %w", text, err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

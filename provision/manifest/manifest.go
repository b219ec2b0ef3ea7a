// Package manifest gets YAML files of Kubernetes objects by their addresses, as
// guides have people apply them.
package manifest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/devenv-oidc/devenv/provision/kube"
)

// Source is where objects come from: a file at a URL, or files of a git
// repository at a commit.
type Source struct {
	URL string
	// SHA256 of the file at URL, in hex: nothing else is ever applied.
	SHA256 string

	Repository string
	// Commit that verifies what is read of the repository, 40 hex digits.
	Commit string
	// Path of a file, a folder or a kustomization in the repository.
	Path string

	// Local is a file to read in the URL's place, verified as that would be, or a
	// folder in the repository's, which is not; empty for none.
	Local string
}

func (s Source) name() string {
	if s.URL != "" {
		return s.URL
	}
	return fmt.Sprintf("%s of %s at %s", cmp.Or(s.Path, "."), s.Repository, s.Commit[:min(12, len(s.Commit))])
}

const (
	// fetchLimit is how long a download takes at most, and sizeLimit how large it
	// may be, in bytes.
	fetchLimit = time.Minute
	sizeLimit  = 32 << 20
)

// Objects reads the source's objects, verified: namespaces and definitions of
// kinds first, and then the others, in the order of the files. What is fetched
// is stored in the folder cache.
func (s Source) Objects(ctx context.Context, cache string) ([]kube.Object, error) {
	texts, err := s.read(ctx, cache)
	if err != nil {
		return nil, fmt.Errorf("could not get the manifest %s: %w", s.name(), err)
	}
	objects, err := decode(texts)
	if err != nil {
		return nil, fmt.Errorf("could not read the manifest %s: %w", s.name(), err)
	}
	return objects, nil
}

// Save writes what Objects reads to a path that can be a Source's Local: a file,
// or for a repository a folder.
func (s Source) Save(ctx context.Context, cache, to string) error {
	fail := func(err error) error { return fmt.Errorf("could not get the manifest %s: %w", s.name(), err) }
	if s.URL != "" {
		text, err := s.file(ctx, cache)
		if err != nil {
			return fail(err)
		}
		return os.WriteFile(to, text, 0o600)
	}
	files, err := s.files(ctx, filepath.Join(cache, "repositories"))
	if err != nil {
		return fail(err)
	}
	for name, read := range files {
		text, err := read()
		if err != nil {
			return fail(fmt.Errorf("%s: %w", name, err))
		}
		path := filepath.Join(to, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (s Source) read(ctx context.Context, cache string) (texts [][]byte, err error) {
	if s.URL != "" {
		text, err := s.file(ctx, cache)
		return [][]byte{text}, err
	}
	files, err := s.files(ctx, filepath.Join(cache, "repositories"))
	if err != nil {
		return nil, err
	}
	return files.at(s.Path)
}

// file is what is at the URL.
func (s Source) file(ctx context.Context, cache string) ([]byte, error) {
	if s.Local != "" {
		text, err := os.ReadFile(s.Local)
		if err != nil {
			return nil, err
		}
		return text, s.verify(text)
	}
	kept := filepath.Join(cache, s.SHA256+".yaml")
	if text, err := os.ReadFile(kept); err == nil && s.verify(text) == nil {
		return text, nil
	}
	text, err := s.download(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.verify(text); err != nil {
		return nil, err
	}
	return text, store(kept, text)
}

func (s Source) download(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s", response.Status)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, sizeLimit+1))
	if err == nil && len(text) > sizeLimit {
		err = fmt.Errorf("it has more than %d MB", sizeLimit>>20)
	}
	return text, err
}

// store writes the file in one step: another devenv may read it meanwhile.
func store(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".download-*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(text)
	if err := errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}

func (s Source) verify(text []byte) error {
	sum := sha256.Sum256(text)
	if have := hex.EncodeToString(sum[:]); have != s.SHA256 {
		return fmt.Errorf("its SHA-256 is %s, not %s as the profile says", have, s.SHA256)
	}
	return nil
}

// first are the kinds that others need.
var first = []string{"Namespace", "CustomResourceDefinition"}

func decode(texts [][]byte) ([]kube.Object, error) {
	var before, after []kube.Object
	add := func(o kube.Object) error {
		metadata, _ := o["metadata"].(map[string]any)
		for field, value := range map[string]any{"apiVersion": o["apiVersion"], "kind": o["kind"], "metadata.name": metadata["name"]} {
			if text, ok := value.(string); !ok || text == "" {
				return fmt.Errorf("object %d has no %s", len(before)+len(after)+1, field)
			}
		}
		if kind, _ := o["kind"].(string); slices.Contains(first, kind) {
			before = append(before, o)
		} else {
			after = append(after, o)
		}
		return nil
	}
	for _, text := range texts {
		if err := eachObject(text, add); err != nil {
			return nil, err
		}
	}
	if len(before)+len(after) == 0 {
		return nil, errors.New("it has no objects")
	}
	return append(before, after...), nil
}

// eachObject calls add for every object of a YAML file, and for those of lists
// one by one.
func eachObject(text []byte, add func(kube.Object) error) error {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		var o kube.Object
		if err := decoder.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if len(o) == 0 { // an empty document, or only comments
			continue
		}
		items, isList := o["items"].([]any)
		if !isList {
			items = []any{o}
		}
		for _, item := range items {
			object, _ := item.(map[string]any)
			if err := add(object); err != nil {
				return err
			}
		}
	}
}

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"sigs.k8s.io/yaml"
)

// The images that stand in the place of Klutch's, and the repository whose
// kinds the lab makes.
const (
	backendRef       = "lab/klutch-backend:1"
	konnectorRef     = "lab/klutch-konnector:1"
	klutchRepository = "https://github.com/anynines/klutchio"
)

func (l *lab) klutchKey() (string, error) {
	return l.key([]string{"klutch", "klutch.go", "images.go", "layer.go"})
}

// klutchImages are the stand-in for Klutch's two programs.
func (l *lab) klutchImages(ctx context.Context) (string, error) {
	key, err := l.klutchKey()
	if err != nil {
		return "", err
	}
	return l.artifact("image-klutch", key, ".tar", func(to string) error {
		binary, err := l.ownBinary(ctx, "klutch")
		if err != nil {
			return err
		}
		images := map[string]v1.Image{}
		for ref, command := range map[string]string{backendRef: "backend", konnectorRef: "konnector"} {
			files := newLayer()
			files.host("/klutch", binary)
			if images[ref], err = newImage(v1.Config{User: "65532:65532", Entrypoint: []string{"/klutch", command}}, files); err != nil {
				return err
			}
		}
		return writeImages(to, images)
	})
}

// klutchKinds are the kinds that Klutch's repository defines, by the file they
// are in: kind, scope. The lab's have no schema.
var klutchKinds = map[string][2]string{
	"bind/deploy/crd/klutch.anynines.com_apiservicebindings.yaml":                                {"APIServiceBinding", "Cluster"},
	"bind/deploy/crd/klutch.anynines.com_apiserviceexportrequests.yaml":                          {"APIServiceExportRequest", "Namespaced"},
	"bind/deploy/crd/klutch.anynines.com_apiserviceexports.yaml":                                 {"APIServiceExport", "Namespaced"},
	"bind/deploy/crd/klutch.anynines.com_apiservicenamespaces.yaml":                              {"APIServiceNamespace", "Namespaced"},
	"bind/deploy/crd/klutch.anynines.com_appclusterbindings.yaml":                                {"AppClusterBinding", "Namespaced"},
	"bind/deploy/crd/klutch.anynines.com_clusterbindings.yaml":                                   {"ClusterBinding", "Namespaced"},
	"bind/contrib/deploy/crd/example-backend.klutch.anynines.com_apiserviceexporttemplates.yaml": {"APIServiceExportTemplate", "Namespaced"},
}

// klutchManifests is a folder that stands in the place of Klutch's repository.
func (l *lab) klutchManifests(ctx context.Context) (string, error) {
	key, err := l.klutchKey()
	if err != nil {
		return "", err
	}
	return l.artifact("manifests", key, "", func(to string) error {
		for file, kind := range klutchKinds {
			group, plural, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".yaml"), "_")
			singular := strings.ToLower(kind[0])
			text, err := yaml.Marshal(map[string]any{
				"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
				"metadata": map[string]any{"name": plural + "." + group},
				"spec": map[string]any{
					"group": group, "scope": kind[1],
					"names": map[string]any{"kind": kind[0], "listKind": kind[0] + "List", "plural": plural, "singular": singular},
					"versions": []any{map[string]any{
						"name": "v1alpha1", "served": true, "storage": true, "subresources": map[string]any{"status": map[string]any{}},
						"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
					}},
				},
			})
			if err != nil {
				return err
			}
			path := filepath.Join(to, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(path, text, 0o644); err != nil {
				return err
			}
		}
		return nil
	})
}

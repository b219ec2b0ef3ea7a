package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/devenv-oidc/devenv/profiles"
)

// sourcesFile points devenv to every image and chart.
func (l *lab) sourcesFile() string { return filepath.Join(l.cache, "sources.yaml") }

// sources makes every image and chart and writes the file that points devenv
// to them; built counts what had to be made.
func (l *lab) sources(ctx context.Context) (path string, built int, err error) {
	nodeArchive, nodeRef, err := l.nodeImage(ctx)
	if err != nil {
		return "", 0, err
	}
	dex, err := l.dexImage(ctx, "dex", dexVersion)
	if err != nil {
		return "", 0, err
	}
	preview, err := l.dexImage(ctx, "dexpreview", dexBranch)
	if err != nil {
		return "", 0, err
	}
	caddy, err := l.caddyImage(ctx)
	if err != nil {
		return "", 0, err
	}
	proxy, err := l.oauth2ProxyImage(ctx)
	if err != nil {
		return "", 0, err
	}
	balancer, err := l.loadBalancerImage(ctx)
	if err != nil {
		return "", 0, err
	}
	klutch, err := l.klutchImages(ctx)
	if err != nil {
		return "", 0, err
	}
	manifests, err := l.klutchManifests(ctx)
	if err != nil {
		return "", 0, err
	}
	certManager, err := l.certManagerImages(ctx)
	if err != nil {
		return "", 0, err
	}
	charts, err := l.charts(ctx)
	if err != nil {
		return "", 0, err
	}
	image := func(name, tag, archive string) profiles.ImagePin {
		return profiles.ImagePin{Repository: name, Tag: tag, Archive: filepath.Base(archive)}
	}
	chart := func(name string) string { return filepath.Join(filepath.Base(charts), name) }
	overlay := profiles.Pins{
		NodeImages: map[string]profiles.NodeImagePin{kubernetesVersion: {Image: nodeRef, Archive: filepath.Base(nodeArchive)}},
		Charts: map[string]profiles.ChartPin{
			"dex": {Path: chart("dex"), Version: "0.24.0", Images: map[string]profiles.ImagePin{
				"": image("ghcr.io/dexidp/dex", dexVersion, dex),
			}},
			"cert-manager": {Path: chart("cert-manager"), Version: certManagerVersion, Images: map[string]profiles.ImagePin{
				"":           image("quay.io/jetstack/cert-manager-controller", certManagerVersion, certManager),
				"webhook":    image("quay.io/jetstack/cert-manager-webhook", certManagerVersion, certManager),
				"cainjector": image("quay.io/jetstack/cert-manager-cainjector", certManagerVersion, certManager),
			}},
		},
	}
	overlay.Dex = map[string]profiles.DexPin{dexBranch: {Image: image("ghcr.io/dexidp/dex", dexBranch, preview)}}
	overlay.Images = map[string]profiles.ImagePin{
		"klutch-backend":           image("lab/klutch-backend", "1", klutch),
		"klutch-konnector":         image("lab/klutch-konnector", "1", klutch),
		"oauth2-proxy":             image("quay.io/oauth2-proxy/oauth2-proxy", oauth2ProxyTag, proxy),
		profiles.LoadBalancerImage: image(loadBalancerPin().Repository, loadBalancerPin().Tag, balancer),
		"caddy":                    image("docker.io/library/caddy", caddyTag, caddy),
	}
	overlay.Manifests = map[string]string{klutchRepository: filepath.Base(manifests)}
	text, err := yaml.Marshal(overlay)
	if err != nil {
		return "", 0, err
	}
	path = l.sourcesFile()
	return path, l.built, os.WriteFile(path, text, 0o644)
}

// programs builds what the process runtime runs, and nothing else, and writes
// the file that points devenv to it.
func (l *lab) programs(ctx context.Context) (path string, built int, err error) {
	needed := []string{"etcd", "dex", "kubectl", "control-plane"}
	file := map[string]string{}
	for i, name := range needed {
		before := l.built
		folder, err := l.binaries(ctx, name)
		if err != nil {
			return "", 0, err
		}
		if l.built > before {
			say("%d of %d programs are made", i+1, len(needed))
		}
		file[name] = filepath.Join(filepath.Base(folder), name)
	}
	text, err := yaml.Marshal(profiles.Pins{Programs: profiles.Programs{
		Kubernetes: map[string]map[string]string{kubernetesVersion: {
			"etcd": file["etcd"], "kubectl": file["kubectl"],
			"kube-apiserver": file["control-plane"], "kube-controller-manager": file["control-plane"],
		}},
		Dex: map[string]string{dexVersion: file["dex"]},
	}})
	if err != nil {
		return "", 0, err
	}
	path = filepath.Join(l.cache, "programs.yaml")
	return path, l.built, os.WriteFile(path, text, 0o644)
}

func (l *lab) chartsKey() (string, error) {
	return l.key([]string{"charts", "modules/certmanager", "sources.go"})
}

// charts lays out both charts as folders. cert-manager's is its own, taken
// from its module and completed as its release does: version, and the CRDs as
// templates under the value that newer charts use. Dex's is a stand-in.
func (l *lab) charts(ctx context.Context) (string, error) {
	key, err := l.chartsKey()
	if err != nil {
		return "", err
	}
	return l.artifact("charts", key, "", func(to string) error {
		if err := os.CopyFS(filepath.Join(to, "dex"), os.DirFS(filepath.Join(l.root, "charts", "dex"))); err != nil {
			return err
		}
		module, err := moduleDir(ctx, filepath.Join(l.root, "modules", "certmanager"), "github.com/cert-manager/cert-manager")
		if err != nil {
			return err
		}
		chart := filepath.Join(to, "cert-manager")
		if err := os.CopyFS(chart, os.DirFS(filepath.Join(module, "deploy", "charts", "cert-manager"))); err != nil {
			return err
		}
		text, err := os.ReadFile(filepath.Join(chart, "Chart.template.yaml"))
		if err != nil {
			return err
		}
		stamped := strings.NewReplacer("v0.1.0", certManagerVersion, "{{IS_PRERELEASE}}", "false").Replace(string(text))
		if err := os.WriteFile(filepath.Join(chart, "Chart.yaml"), []byte(stamped), 0o644); err != nil {
			return err
		}
		crds, err := filepath.Glob(filepath.Join(module, "deploy", "crds", "crd-*.yaml"))
		if err != nil {
			return err
		}
		for _, crd := range crds {
			text, err := os.ReadFile(crd)
			if err != nil {
				return err
			}
			template := "{{- if (.Values.crds).enabled }}\n" + string(text) + "\n{{- end }}\n"
			if err := os.WriteFile(filepath.Join(chart, "templates", filepath.Base(crd)), []byte(template), 0o644); err != nil {
				return err
			}
		}
		return nil
	})
}

package steps

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/trust"
)

// EndpointService is the name of an endpoint's Service, and of what its proxy is
// made of.
func EndpointService(x profiles.Endpoint) string { return "devenv-" + x.Name }

func endpointsOf(e *environment.Environment, c profiles.Cluster) []profiles.Endpoint {
	var list []profiles.Endpoint
	for _, x := range e.Spec().Endpoints {
		if x.Cluster == c.Name {
			list = append(list, x)
		}
	}
	return list
}

func endpointObjects(e *environment.Environment, c profiles.Cluster) ([]kube.Object, error) {
	var objects []kube.Object
	for _, x := range endpointsOf(e, c) {
		if x.Service != "" {
			proxy, err := proxyObjects(e, x)
			if err != nil {
				return nil, err
			}
			objects = append(objects, proxy...)
		}
		objects = append(objects, endpointObject(e, x))
	}
	return objects, nil
}

// endpointObject makes an endpoint's port the same on the node, on the host and
// in the cluster, as the issuer's.
func endpointObject(e *environment.Environment, x profiles.Endpoint) kube.Object {
	port, selector, target := e.Record.EndpointPorts[x.Name], kube.Object{}, x.TargetPort
	for key, value := range x.Selector {
		selector[key] = value
	}
	if x.Service != "" {
		selector, target = proxyLabels(x), proxyPort
	}
	return kube.Object{
		"apiVersion": "v1", "kind": "Service",
		"metadata": kube.Object{"name": EndpointService(x), "namespace": x.Namespace, "labels": kube.ManagedLabels()},
		"spec": kube.Object{
			"type": "NodePort", "selector": selector,
			"ports": []any{kube.Object{"name": "https", "port": port, "nodePort": port, "targetPort": target}},
		},
	}
}

const (
	proxyPort = 8443
	// proxyFolder is where the proxy's image has its configuration, Caddyfile
	// (https://caddyserver.com/docs/running).
	proxyFolder = "/etc/caddy"
)

func proxyLabels(x profiles.Endpoint) kube.Object {
	return kube.Object{"app.kubernetes.io/name": "devenv-endpoint", "app.kubernetes.io/instance": x.Name}
}

// proxyObjects are a proxy that speaks https for an endpoint's Service. Without a
// certificate, which a step signs, there is none.
func proxyObjects(e *environment.Environment, x profiles.Endpoint) ([]kube.Object, error) {
	certificate, err := e.Dir.Read(endpointFile(x, ".crt")...)
	key, keyErr := e.Dir.Read(endpointFile(x, ".key")...)
	if err := errors.Join(err, keyErr); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("could not read the certificate of the endpoint %s: %w", x.Name, err)
	}
	configuration := fmt.Sprintf(`{
	admin off
	auto_https off
	persist_config off
}
:%d {
	tls /tls/tls.crt /tls/tls.key
	reverse_proxy %s.%s.svc.cluster.local:%d
}
`, proxyPort, x.Service, x.Namespace, x.Port)
	name, labels := EndpointService(x), kube.ManagedLabels()
	metadata := kube.Object{"name": name, "namespace": x.Namespace, "labels": labels}
	container := kube.Object{
		"name": "proxy", "image": e.Record.Pins.Images[profiles.ProxyImage].Pinned(),
		"ports":          []any{kube.Object{"name": "https", "containerPort": proxyPort}},
		"readinessProbe": kube.Object{"tcpSocket": kube.Object{"port": proxyPort}, "periodSeconds": 1},
		"volumeMounts": []any{
			kube.Object{"name": "tls", "mountPath": "/tls", "readOnly": true},
			kube.Object{"name": "configuration", "mountPath": proxyFolder, "readOnly": true},
		},
	}
	return []kube.Object{
		{"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/tls",
			"data": kube.Object{"tls.crt": base64.StdEncoding.EncodeToString(certificate), "tls.key": base64.StdEncoding.EncodeToString(key)}},
		{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": kube.Object{"Caddyfile": configuration}},
		{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": kube.Object{
			"selector": kube.Object{"matchLabels": proxyLabels(x)},
			"template": kube.Object{
				"metadata": kube.Object{
					"labels":      proxyLabels(x), // what it reads at its start makes another pod
					"annotations": kube.Object{"devenv.dev/configuration": trust.Fingerprint(append([]byte(configuration), certificate...))},
				},
				"spec": kube.Object{
					"automountServiceAccountToken": false,
					"containers":                   []any{container},
					"volumes": []any{
						kube.Object{"name": "tls", "secret": kube.Object{"secretName": name}},
						kube.Object{"name": "configuration", "configMap": kube.Object{"name": name}},
					},
				},
			},
		}},
	}, nil
}

// How long a proxy's certificate is valid, and how long it must be still when `up`
// looks.
const endpointLifetime, endpointLeft = 365 * 24 * time.Hour, 30 * 24 * time.Hour

// signEndpoints makes sure that the proxies of a cluster have certificates.
func signEndpoints(e *environment.Environment, c profiles.Cluster) error {
	for _, x := range endpointsOf(e, c) {
		if x.Service == "" {
			continue
		}
		ca, err := e.CA()
		if err != nil {
			return err
		}
		have, _ := e.Dir.Read(endpointFile(x, ".crt")...)
		if ca.Signed(have, e.Host(x.Name), endpointLeft) {
			continue
		}
		pair, err := ca.ServerPair(endpointLifetime, e.Host(x.Name))
		if err != nil {
			return err
		}
		_, keyErr := e.Dir.Write(pair.KeyPEM, endpointFile(x, ".key")...)
		_, err = e.Dir.Write(pair.CertPEM, endpointFile(x, ".crt")...)
		if err := errors.Join(keyErr, err); err != nil {
			return err
		}
	}
	return nil
}

func endpointFile(x profiles.Endpoint, extension string) []string {
	return []string{"endpoints", x.Name + extension}
}

// RemoveEndpoint deletes what a cluster has of an endpoint.
func RemoveEndpoint(ctx context.Context, e *environment.Environment, x profiles.Endpoint) error {
	admin, err := e.Admin(x.Cluster)
	if err != nil {
		return err
	}
	name, core := EndpointService(x), admin.Core.CoreV1()
	err = errors.Join(
		ignoreMissing(core.Services(x.Namespace).Delete(ctx, name, metav1.DeleteOptions{})),
		ignoreMissing(admin.Core.AppsV1().Deployments(x.Namespace).Delete(ctx, name, metav1.DeleteOptions{})),
		ignoreMissing(core.ConfigMaps(x.Namespace).Delete(ctx, name, metav1.DeleteOptions{})),
		ignoreMissing(core.Secrets(x.Namespace).Delete(ctx, name, metav1.DeleteOptions{})))
	if err != nil {
		return fmt.Errorf("could not delete the endpoint %s: %w", x.Name, err)
	}
	return nil
}

func ignoreMissing(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// Package identity runs Dex: its chart values, its clients and users over
// gRPC, and its tokens. It is the only one that knows Dex.
package identity

import (
	"fmt"
	"time"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/kube"
)

// Names in the cluster.
const (
	Namespace = "dex"
	// Release is the name of the Helm release, and so of Dex's Deployment.
	Release = "dex"
	// ServingSecret holds Dex's https certificate; cert-manager renews it.
	ServingSecret = "dex-serving"
	// GRPCSecret holds Dex's gRPC certificate and the CA of its clients.
	GRPCSecret = "dex-grpc"
	// GRPCServerName is the name in Dex's gRPC certificate.
	GRPCServerName = "grpc.dex"

	issuerService = "dex-issuer"
	httpsPort     = 5554
	grpcPort      = 5557
	servingMount  = "/etc/dex-serving"
	grpcMount     = "/etc/dex-grpc"
	podSelector   = "app.kubernetes.io/name=dex,app.kubernetes.io/instance=" + Release
)

// ServiceHost is the issuer's Service in cluster DNS.
const ServiceHost = issuerService + "." + Namespace + ".svc.cluster.local"

// certificateAnnotation on Dex's pods holds the fingerprint of the certificate
// they were started with.
const certificateAnnotation = "devenv.dev/serving-certificate"

// grpcAnnotation holds that of the gRPC API's certificate: another one rolls Dex,
// which reads it when it starts.
const grpcAnnotation = "devenv.dev/grpc-certificate"

// Settings are what Dex's configuration is made from.
type Settings struct {
	Issuer string // URL
	Dex    profiles.Dex
	Image  profiles.ImagePin
	// Certificate is the fingerprint of the serving certificate in place.
	Certificate string
	// GRPCCertificate is the fingerprint of the one of its gRPC API.
	GRPCCertificate string
	// BesideAPIServer says that Dex's pod can only be on the API server's node.
	BesideAPIServer bool
	// ClientCredentials says that this Dex has the grant.
	ClientCredentials bool
}

// files are where Dex finds its certificates.
type files struct{ servingCert, servingKey, grpcCert, grpcKey, grpcClientCA string }

// config is Dex's configuration, but for where it listens
// (github.com/dexidp/dex, cmd/dex/config.go).
func (s Settings) config(storage map[string]any, f files) (map[string]any, error) {
	lifetime, err := time.ParseDuration(s.Dex.IDTokenLifetime)
	if err != nil {
		return nil, fmt.Errorf("the lifetime of id tokens: %w", err)
	}
	oauth2 := map[string]any{"skipApprovalScreen": true, "passwordConnector": "local"}
	if s.ClientCredentials { // it must be asked for, and then the others too
		oauth2["grantTypes"] = []any{
			"authorization_code", "refresh_token", "password", "client_credentials",
			"urn:ietf:params:oauth:grant-type:device_code", "urn:ietf:params:oauth:grant-type:token-exchange",
		}
	}
	connectors := []any{}
	for _, c := range s.Dex.Connectors {
		connectors = append(connectors, map[string]any{"type": c.Type, "id": c.ID, "name": c.Name, "config": c.Config})
	}
	config := map[string]any{
		"issuer":           s.Issuer,
		"storage":          map[string]any{"type": "kubernetes", "config": storage},
		"web":              map[string]any{"tlsCert": f.servingCert, "tlsKey": f.servingKey},
		"grpc":             map[string]any{"tlsCert": f.grpcCert, "tlsKey": f.grpcKey, "tlsClientCA": f.grpcClientCA},
		"oauth2":           oauth2,
		"expiry":           map[string]any{"idTokens": lifetime.String()},
		"enablePasswordDB": true,
	}
	if len(connectors) > 0 {
		config["connectors"] = connectors
	}
	return config, nil
}

// Values are the values of Dex's chart.
//
// The chart's Service stays a ClusterIP: as a NodePort it would open gRPC and
// plain http on the node too. The issuer has a Service of its own.
func Values(s Settings) (map[string]any, error) {
	config, err := s.config(map[string]any{"inCluster": true}, files{
		servingCert: servingMount + "/tls.crt", servingKey: servingMount + "/tls.key",
		grpcCert: grpcMount + "/tls.crt", grpcKey: grpcMount + "/tls.key", grpcClientCA: grpcMount + "/client-ca.crt",
	})
	if err != nil {
		return nil, err
	}
	secretVolume := func(name string) map[string]any {
		return map[string]any{"name": name, "secret": map[string]any{"secretName": name}}
	}
	mount := func(name, path string) map[string]any {
		return map[string]any{"name": name, "mountPath": path, "readOnly": true}
	}
	values := map[string]any{
		"image":          map[string]any{"repository": s.Image.Repository, "tag": s.Image.Tag},
		"https":          map[string]any{"enabled": true},
		"grpc":           map[string]any{"enabled": true},
		"podAnnotations": map[string]any{certificateAnnotation: s.Certificate, grpcAnnotation: s.GRPCCertificate},
		// the old pod keeps serving until the new one does
		"strategy": map[string]any{"type": "RollingUpdate", "rollingUpdate": map[string]any{"maxUnavailable": 0, "maxSurge": 1}},
		"volumes":  []any{secretVolume(ServingSecret), secretVolume(GRPCSecret)},
		"volumeMounts": []any{
			mount(ServingSecret, servingMount),
			mount(GRPCSecret, grpcMount),
		},
		"config": config,
	}
	if s.BesideAPIServer {
		// The API server by its own address: the Service's works only when
		// kube-proxy is up, and until then Dex would crash.
		values["envVars"] = []any{
			map[string]any{"name": "KUBERNETES_SERVICE_HOST", "valueFrom": map[string]any{"fieldRef": map[string]any{"fieldPath": "status.hostIP"}}},
			map[string]any{"name": "KUBERNETES_SERVICE_PORT", "value": "6443"},
		}
	}
	return values, nil
}

// IssuerService makes the issuer's port the same on the node (and so on the
// host) and in the cluster.
func IssuerService(port int) kube.Object {
	return kube.Object{
		"apiVersion": "v1", "kind": "Service",
		"metadata": kube.Object{"name": issuerService, "namespace": Namespace, "labels": kube.ManagedLabels()},
		"spec": kube.Object{
			"type":     "NodePort",
			"selector": kube.Object{"app.kubernetes.io/name": "dex", "app.kubernetes.io/instance": Release},
			"ports":    []any{kube.Object{"name": "https", "port": port, "nodePort": port, "targetPort": httpsPort}},
		},
	}
}

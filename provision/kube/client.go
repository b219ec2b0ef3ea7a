// Package kube is how devenv's parts talk to an API server: objects applied on
// the server's side, waits that say what they wait for, and port-forwards.
package kube

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
)

// FieldManager owns the fields that devenv applies.
const FieldManager = "devenv"

// ManagedLabels mark every object that devenv makes.
func ManagedLabels() map[string]any {
	return map[string]any{"app.kubernetes.io/managed-by": FieldManager}
}

// ManagedSelector selects them.
const ManagedSelector = "app.kubernetes.io/managed-by=" + FieldManager

// Client is one user's access to one API server.
type Client struct {
	Config  *rest.Config
	Core    kubernetes.Interface
	Dynamic dynamic.Interface

	loader    clientcmd.ClientConfig
	discovery discovery.CachedDiscoveryInterface
	mapper    *restmapper.DeferredDiscoveryRESTMapper
}

// New makes a client from a kubeconfig's text.
func New(kubeconfig []byte) (*Client, error) {
	loader, err := clientcmd.NewClientConfigFromBytes(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("could not read the kubeconfig: %w", err)
	}
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("could not read the kubeconfig: %w", err)
	}
	client, err := ForConfig(config)
	if err == nil {
		client.loader = loader
	}
	return client, err
}

// ForConfig makes a client from a configuration, which it copies.
func ForConfig(config *rest.Config) (*Client, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = 100, 200 // one user on an idle machine: client-go's 5 a second only delay
	config.Timeout = 30 * time.Second
	config.WarningHandler = rest.NoWarnings{}
	core, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	dynamicClient, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	cached := memory.NewMemCacheClient(core.Discovery())
	return &Client{
		Config: config, Core: core, Dynamic: dynamicClient,
		discovery: cached, mapper: restmapper.NewDeferredDiscoveryRESTMapper(cached),
	}, nil
}

// The methods below make a Client what Helm and kubectl's libraries call a
// RESTClientGetter, without their cache in the user's home.

// ToRESTConfig returns the configuration.
func (c *Client) ToRESTConfig() (*rest.Config, error) { return c.Config, nil }

// ToDiscoveryClient returns discovery that is cached in memory.
func (c *Client) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	return c.discovery, nil
}

// ToRESTMapper returns the mapper of kinds to resources.
func (c *Client) ToRESTMapper() (meta.RESTMapper, error) { return c.mapper, nil }

// ToRawKubeConfigLoader returns the kubeconfig the client was made from.
func (c *Client) ToRawKubeConfigLoader() clientcmd.ClientConfig { return c.loader }

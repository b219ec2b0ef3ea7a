package process

import (
	"fmt"
	"maps"
	"slices"
)

// The programs of a control plane, by the names they are called by.
const (
	etcd              = "etcd"
	apiServer         = "kube-apiserver"
	controllerManager = "kube-controller-manager"
)

// etcdArgs make a cluster of one member that talks to nobody without a
// certificate.
func (c *Cluster) etcdArgs() []string {
	clients := fmt.Sprintf("https://127.0.0.1:%d", c.spec.EtcdPort)
	peers := fmt.Sprintf("https://127.0.0.1:%d", c.spec.EtcdPeerPort)
	return arguments(map[string]string{
		"name":                        "devenv",
		"data-dir":                    c.below("etcd"),
		"listen-client-urls":          clients,
		"advertise-client-urls":       clients,
		"listen-peer-urls":            peers,
		"initial-advertise-peer-urls": peers,
		"initial-cluster":             "devenv=" + peers,
		"cert-file":                   c.pki(etcdServerPair + ".crt"),
		"key-file":                    c.pki(etcdServerPair + ".key"),
		"trusted-ca-file":             c.pki(etcdAuthority + ".crt"),
		"client-cert-auth":            "true",
		"peer-cert-file":              c.pki(etcdServerPair + ".crt"),
		"peer-key-file":               c.pki(etcdServerPair + ".key"),
		"peer-trusted-ca-file":        c.pki(etcdAuthority + ".crt"),
		"peer-client-cert-auth":       "true",
		// nobody to hold an election with
		"heartbeat-interval": "10",
		"election-timeout":   "100",
		"log-level":          "warn",
	})
}

// apiServerArgs are kubeadm's (cmd/kubeadm/app/phases/controlplane), without
// what only nodes and aggregated API servers need.
func (c *Cluster) apiServerArgs() []string {
	args := map[string]string{
		"bind-address":      "127.0.0.1",
		"secure-port":       fmt.Sprint(c.spec.APIPort),
		"advertise-address": "127.0.0.1",
		// the loopback may not be an endpoint of the Service "kubernetes", and
		// there is no pod that could use it
		"endpoint-reconciler-type":         "none",
		"etcd-servers":                     fmt.Sprintf("https://127.0.0.1:%d", c.spec.EtcdPort),
		"etcd-cafile":                      c.pki(etcdAuthority + ".crt"),
		"etcd-certfile":                    c.pki(etcdClientPair + ".crt"),
		"etcd-keyfile":                     c.pki(etcdClientPair + ".key"),
		"tls-cert-file":                    c.pki(servingPair + ".crt"),
		"tls-private-key-file":             c.pki(servingPair + ".key"),
		"client-ca-file":                   c.pki(authority + ".crt"),
		"service-account-issuer":           "https://kubernetes.default.svc.cluster.local",
		"service-account-key-file":         c.pki(serviceAccountKey),
		"service-account-signing-key-file": c.pki(serviceAccountKey),
		"service-cluster-ip-range":         "10.96.0.0/16",
		"authorization-mode":               "Node,RBAC",
		"enable-admission-plugins":         "NodeRestriction",
		"allow-privileged":                 "true",
		"profiling":                        "false",
	}
	maps.Copy(args, c.spec.APIServerArgs)
	return arguments(args)
}

func (c *Cluster) controllerManagerArgs() []string {
	return arguments(map[string]string{
		"kubeconfig":                       c.pki(controllerManagerPair + ".kubeconfig"),
		"secure-port":                      "0", // nobody scrapes it
		"leader-elect":                     "false",
		"kube-api-qps":                     "200",
		"kube-api-burst":                   "400",
		"use-service-account-credentials":  "true",
		"service-account-private-key-file": c.pki(serviceAccountKey),
		"root-ca-file":                     c.pki(authority + ".crt"),
		"cluster-signing-cert-file":        c.pki(authority + ".crt"),
		"cluster-signing-key-file":         c.pki(authority + ".key"),
		"profiling":                        "false",
	})
}

// arguments writes flags in a stable order, so that the same flags are the
// same command.
func arguments(flags map[string]string) []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		list = append(list, "--"+name+"="+flags[name])
	}
	return list
}

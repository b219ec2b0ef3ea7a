package report

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/devenv-oidc/devenv/profiles"
)

// kinds are the objects of a cluster that a report has, in all namespaces:
// "group/version/resource".
var kinds = []string{
	"/v1/nodes", "/v1/namespaces", "/v1/pods", "/v1/services", "/v1/serviceaccounts", "/v1/configmaps", "/v1/events", "/v1/secrets",
	"apps/v1/deployments", "apps/v1/daemonsets", "apps/v1/statefulsets",
	"rbac.authorization.k8s.io/v1/roles", "rbac.authorization.k8s.io/v1/rolebindings",
	"rbac.authorization.k8s.io/v1/clusterroles", "rbac.authorization.k8s.io/v1/clusterrolebindings",
	"apiextensions.k8s.io/v1/customresourcedefinitions",
	"cert-manager.io/v1/certificates", "cert-manager.io/v1/clusterissuers", "cert-manager.io/v1/certificaterequests",
	"dex.coreos.com/v1/passwords", "dex.coreos.com/v1/oauth2clients", "dex.coreos.com/v1/signingkeies",
}

// objects writes a file for each kind that the cluster has.
func (c *collector) objects(ctx context.Context, cluster profiles.Cluster) error {
	admin, err := c.env.Admin(cluster.Name)
	if err != nil {
		return err
	}
	for _, kind := range kinds {
		p := strings.Split(kind, "/")
		list, err := admin.Dynamic.Resource(schema.GroupVersionResource{Group: p[0], Version: p[1], Resource: p[2]}).
			List(ctx, metav1.ListOptions{Limit: 1000})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("could not list %s: %w", p[2], err)
		}
		var text []byte
		for i := range list.Items {
			strip(&list.Items[i], p[2])
			object, err := yaml.Marshal(list.Items[i].Object)
			if err != nil {
				return err
			}
			text = append(append(text, "---\n"...), object...)
		}
		if len(list.Items) > 0 {
			c.add("clusters/"+cluster.Name+"/"+p[2]+".yaml", text)
		}
	}
	return nil
}

// strip removes what nobody reads, and the content of Secrets: of that the keys
// and lengths are left, certificates, and Dex's configuration.
func strip(o *unstructured.Unstructured, resource string) {
	o.SetManagedFields(nil)
	if resource == "customresourcedefinitions" {
		unstructured.RemoveNestedField(o.Object, "spec", "versions") // long schemas
	}
	if resource != "secrets" {
		return
	}
	data, _, _ := unstructured.NestedMap(o.Object, "data")
	for key, value := range data {
		if strings.HasSuffix(key, ".crt") {
			continue // a certificate is no secret
		}
		if key == "config.yaml" { // Dex's configuration; the redactor reads it as any other file
			if text, err := base64.StdEncoding.DecodeString(fmt.Sprint(value)); err == nil {
				data[key] = string(text)
				continue
			}
		}
		data[key] = fmt.Sprintf("REDACTED (%d characters of base64)", len(fmt.Sprint(value)))
	}
	if data != nil {
		_ = unstructured.SetNestedMap(o.Object, data, "data")
	}
	annotations := o.GetAnnotations()
	delete(annotations, "kubectl.kubernetes.io/last-applied-configuration")
	o.SetAnnotations(annotations)
}

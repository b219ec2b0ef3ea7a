// Command klutch stands in the place of Klutch's two programs where their images
// are not to be had. `klutch backend` has upstream's arguments, paths, cookies,
// answers and objects, as far as its source says them (anynines/klutchio,
// bind/contrib/example-backend): it serves nothing before the kinds it works with
// are there, and takes no tokens. `klutch konnector` copies objects to the
// control plane and their status back.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] != "backend" && args[0] != "konnector" {
		return fmt.Errorf("usage: klutch backend FLAG… | klutch konnector")
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	if args[0] == "konnector" {
		return konnector(ctx, config)
	}
	return backend(ctx, config, args[1:])
}

const group = "klutch.anynines.com"

func kind(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group, Version: "v1alpha1", Resource: resource}
}

var (
	bindings   = kind("apiservicebindings")
	requests   = kind("apiserviceexportrequests")
	exports    = kind("apiserviceexports")
	namespaces = kind("apiservicenamespaces")
	clusters   = kind("clusterbindings")
	templates  = schema.GroupVersionResource{Group: "example-backend." + group, Version: "v1alpha1", Resource: "apiserviceexporttemplates"}

	definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	secrets     = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
)

// needed are the kinds that the backend waits for.
var needed = []schema.GroupVersionResource{bindings, requests, exports, namespaces, kind("appclusterbindings"), clusters, templates}

// object makes one from nested fields.
func object(apiVersion, kind, namespace, name string, fields map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{}}
	for key, value := range fields {
		o.Object[key] = value
	}
	o.SetAPIVersion(apiVersion)
	o.SetKind(kind)
	o.SetNamespace(namespace)
	o.SetName(name)
	return o
}

// text is a string field, empty where it is missing.
func text(o *unstructured.Unstructured, fields ...string) string {
	value, _, _ := unstructured.NestedString(o.Object, fields...)
	return value
}

// every calls do each second until the context ends, and logs each error once.
func every(ctx context.Context, do func(context.Context) error) {
	last := ""
	for ticker := time.NewTicker(time.Second); ; {
		now := ""
		if err := do(ctx); err != nil {
			now = err.Error()
		}
		if now != last && now != "" && ctx.Err() == nil {
			log.Print(now)
		}
		last = now
		select {
		case <-ctx.Done():
			ticker.Stop()
			return
		case <-ticker.C:
		}
	}
}

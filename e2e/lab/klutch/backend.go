package main

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/gorilla/securecookie"
	"golang.org/x/oauth2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// options are the backend's, as far as they say something.
type options struct {
	clientID, clientSecret, issuer, callback, authorize string
	listen, signingKey, encryptionKey                   string
	externalAddress, externalCAFile, namespacePrefix    string
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("backend", flag.ContinueOnError)
	for name, to := range map[string]*string{
		"oidc-issuer-client-id": &o.clientID, "oidc-issuer-client-secret": &o.clientSecret,
		"oidc-issuer-url": &o.issuer, "oidc-callback-url": &o.callback, "listen-address": &o.listen,
		"cookie-signing-key": &o.signingKey, "cookie-encryption-key": &o.encryptionKey,
		"external-address": &o.externalAddress, "external-ca-file": &o.externalCAFile, "namespace-prefix": &o.namespacePrefix,
		"pretty-name": new(string), "consumer-scope": new(string),
	} {
		flags.StringVar(to, name, "", "as the backend's")
	}
	flags.StringVar(&o.authorize, "oidc-authorize-url", "", "as the backend's")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	for name, value := range map[string]string{
		"oidc-issuer-client-id": o.clientID, "oidc-issuer-client-secret": o.clientSecret, "oidc-issuer-url": o.issuer,
		"oidc-callback-url": o.callback, "listen-address": o.listen, "external-address": o.externalAddress,
	} {
		if value == "" {
			return o, fmt.Errorf("--%s is empty", name)
		}
	}
	return o, nil
}

// server is the backend that serves.
type server struct {
	options
	login   oauth2.Config
	cookies *securecookie.SecureCookie
	cluster dynamic.Interface
	ca      []byte // of the API server
}

func backend(ctx context.Context, config *rest.Config, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	signing, signingErr := key("cookie-signing-key", o.signingKey)
	encryption, encryptionErr := key("cookie-encryption-key", o.encryptionKey)
	ca, caErr := os.ReadFile(o.externalCAFile)
	cluster, clusterErr := dynamic.NewForConfig(config)
	if err := errors.Join(signingErr, encryptionErr, caErr, clusterErr); err != nil {
		return err
	}
	provider, err := oidc.NewProvider(ctx, o.issuer)
	if err != nil {
		return fmt.Errorf("discovery: %w", err)
	}
	s := &server{
		options: o, cookies: securecookie.New(signing, encryption), cluster: cluster, ca: ca,
		login: oauth2.Config{
			ClientID: o.clientID, ClientSecret: o.clientSecret, RedirectURL: o.callback, Endpoint: provider.Endpoint(),
			Scopes: []string{oidc.ScopeOpenID, "profile", "email", "offline_access"},
		},
	}
	// it listens, so that connections wait, and answers when the kinds are there
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	if err := kinds(ctx, cluster); err != nil {
		return err
	}
	go every(ctx, s.reconcile)
	web := &http.Server{Handler: s.routes(), ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = web.Close() })()
	log.Printf("serving at %s", o.listen)
	if err := web.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func key(name, text string) ([]byte, error) {
	value, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(value) != 32 {
		return nil, fmt.Errorf("--%s is not 32 bytes in base64", name)
	}
	return value, nil
}

// kinds waits until the cluster has every kind that the backend works with.
func kinds(ctx context.Context, cluster dynamic.Interface) error {
	ready, done := context.WithCancel(ctx)
	every(ready, func(ctx context.Context) error {
		for _, k := range needed {
			if _, err := cluster.Resource(k).List(ctx, metav1.ListOptions{Limit: 1}); err != nil {
				return fmt.Errorf("waiting for the kind %s.%s: %w", k.Resource, k.Group, err)
			}
		}
		done()
		return nil
	})
	done()
	return ctx.Err()
}

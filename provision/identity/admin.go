package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/dexidp/dex/api/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/devenv-oidc/devenv/provision/kube"
)

// Admin is a connection to Dex's gRPC API, through a port-forward and with
// mutual TLS. Close it.
type Admin struct {
	dex  api.DexClient
	kube *kube.Client
	conn *grpc.ClientConn
	stop func()
}

// Credentials are what Dex's gRPC API asks for.
type Credentials struct {
	Server *x509.CertPool  // the authority of Dex's gRPC certificate
	Client tls.Certificate // signed by the authority that Dex trusts
}

// Connect opens a connection to a ready Dex pod.
func Connect(ctx context.Context, client *kube.Client, c Credentials) (*Admin, error) {
	address, stop, err := client.Forward(ctx, Namespace, podSelector, grpcPort)
	if err != nil {
		return nil, fmt.Errorf("could not reach Dex's gRPC API: %w", err)
	}
	security := credentials.NewTLS(&tls.Config{
		RootCAs: c.Server, Certificates: []tls.Certificate{c.Client}, ServerName: GRPCServerName, MinVersion: tls.VersionTLS12,
	})
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(security))
	if err != nil {
		stop()
		return nil, fmt.Errorf("could not reach Dex's gRPC API: %w", err)
	}
	return &Admin{dex: api.NewDexClient(conn), kube: client, conn: conn, stop: stop}, nil
}

// Close ends the connection and the port-forward.
func (a *Admin) Close() error {
	err := a.conn.Close()
	a.stop()
	return err
}

var errRaced = errors.New("somebody else changed it at the same time")

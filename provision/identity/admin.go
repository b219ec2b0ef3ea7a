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

// Admin is a connection to Dex's gRPC API, with mutual TLS. Close it.
type Admin struct {
	dex  api.DexClient
	kube *kube.Client
	conn *grpc.ClientConn
}

// Credentials are what Dex's gRPC API asks for.
type Credentials struct {
	Server *x509.CertPool  // the CA of Dex's gRPC certificate
	Client tls.Certificate // signed by the CA that Dex trusts
}

// ForwardAdmin opens a way to the gRPC API of a ready Dex pod, until stop is
// called.
func ForwardAdmin(ctx context.Context, client *kube.Client) (address string, stop func(), err error) {
	address, stop, err = client.Forward(ctx, Namespace, podSelector, grpcPort)
	if err != nil {
		return "", nil, fmt.Errorf("could not reach Dex's gRPC API: %w", err)
	}
	return address, stop, nil
}

// Connect opens a connection to the Dex at an address, host:port, which keeps
// its state in the cluster that client is for.
func Connect(client *kube.Client, address string, c Credentials) (*Admin, error) {
	security := credentials.NewTLS(&tls.Config{
		RootCAs: c.Server, Certificates: []tls.Certificate{c.Client}, ServerName: GRPCServerName, MinVersion: tls.VersionTLS12,
	})
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(security))
	if err != nil {
		return nil, fmt.Errorf("could not reach Dex's gRPC API: %w", err)
	}
	return &Admin{dex: api.NewDexClient(conn), kube: client, conn: conn}, nil
}

// Close ends the connection.
func (a *Admin) Close() error { return a.conn.Close() }

var errRaced = errors.New("somebody else changed it at the same time")

package identity

import (
	"fmt"
	"path/filepath"
)

// Program is the name of Dex's program.
const Program = "dex"

// The files of a Dex that runs as a plain process, in a folder of its own.
const (
	ConfigFile     = "config.yaml"
	KubeconfigFile = "kubeconfig"
	ServingPair    = "serving" // .crt and .key
	GRPCPair       = "grpc"    // .crt and .key
	GRPCClientCA   = "grpc-client-ca.crt"
)

// ProgramConfig is the configuration of a Dex that runs as a plain process: it
// listens on the loopback alone, has its files in a folder, and stores its
// state, as in a cluster, in the API server.
func ProgramConfig(s Settings, folder string, issuerPort, grpcPort int) (map[string]any, error) {
	file := func(name string) string { return filepath.Join(folder, name) }
	config, err := s.config(map[string]any{"kubeConfigFile": file(KubeconfigFile)}, files{
		servingCert: file(ServingPair + ".crt"), servingKey: file(ServingPair + ".key"),
		grpcCert: file(GRPCPair + ".crt"), grpcKey: file(GRPCPair + ".key"), grpcClientCA: file(GRPCClientCA),
	})
	if err != nil {
		return nil, err
	}
	config["web"].(map[string]any)["https"] = fmt.Sprintf("127.0.0.1:%d", issuerPort)
	config["grpc"].(map[string]any)["addr"] = fmt.Sprintf("127.0.0.1:%d", grpcPort)
	return config, nil
}

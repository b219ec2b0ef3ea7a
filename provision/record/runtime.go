package record

import (
	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/trust"
)

// Runtime is what a runtime decides about the records of its environments: the
// names by which everything is reached, and what can change in place. It is
// pure data; what runs is in the runtime's own package, which fills this in.
type Runtime struct {
	// Name as in spec.runtime: profiles.RuntimeKind or profiles.RuntimeProcess.
	Name string
	// Pods says whether pods run, and with them charts, DNS and Services.
	Pods bool
	// FlagsInPlace says whether an API server can be restarted with other flags.
	FlagsInPlace bool
	// Has says whether the pins name what runs a version of Kubernetes.
	Has func(pins profiles.Pins, kubernetesVersion string) bool
	// Host is the DNS name of what an environment serves: the issuer ("dex"), an
	// endpoint, "share".
	Host func(environment, of string) string
	// Constraint is what the environment's CA is allowed to sign for.
	Constraint func(environment string) trust.Constraint
	// Server is the URL by which clusters of the environment reach a cluster's
	// API server.
	Server func(r *Record, cluster string) string
	// InternalPorts are the names of ports that nobody outside needs; nil for
	// none.
	InternalPorts func(profile *profiles.Environment) []string
}

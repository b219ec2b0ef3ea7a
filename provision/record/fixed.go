package record

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/trust"
)

// FixedDifferences names the fields that cannot change in an environment that
// exists, where wanted has them different: "path: before → after". runtime is
// the one of wanted.
func FixedDifferences(old, wanted *Record, runtime Runtime) []string {
	var differences []string
	compare := func(field string, before, after any) {
		if before != after {
			differences = append(differences, fmt.Sprintf("%s: %v → %v", field, show(before), show(after)))
		}
	}
	compare("spec.runtime", old.Runtime, wanted.Runtime)
	compare("spec.issuer.url", issuerURL(old), issuerURL(wanted))
	compare("spec.issuer.ca", issuerCA(old), issuerCA(wanted))
	compare("spec.dex.port", old.IssuerPort, wanted.IssuerPort)
	compare("the names of spec.clusters", old.ClusterNames(), wanted.ClusterNames())
	compare("the places of spec.endpoints", old.endpointPlaces(), wanted.endpointPlaces())
	for i, c := range wanted.Profile.Spec.Clusters {
		before := old.Profile.Cluster(c.Name)
		if before == nil {
			continue
		}
		path := fmt.Sprintf("spec.clusters[%d]", i)
		if !runtime.FlagsInPlace {
			compare(path+".publicIssuer", before.PublicIssuer, c.PublicIssuer)
		}
		compare(path+".kubernetesVersion", before.KubernetesVersion, c.KubernetesVersion)
		compareNodes(path, before.Nodes, c.Nodes, compare)
		compareTrust(path+".trust", before.Trust, c.Trust, runtime.FlagsInPlace, compare)
		if c.Several() { // each API server reloads by itself, which nobody could wait for
			compare(path+".trust.configuration", inJSON(before.Trust.Configuration), inJSON(c.Trust.Configuration))
		}
	}
	return differences
}

// issuerURL is that of an external issuer.
func issuerURL(r *Record) string {
	if x := r.Profile.Spec.Issuer; x != nil {
		return x.URL
	}
	return "Dex"
}

// issuerCA tells the CA of an external issuer from others.
func issuerCA(r *Record) string {
	if x := r.Profile.Spec.Issuer; x != nil && x.CA != "" {
		return "SHA-256 " + trust.Fingerprint([]byte(x.CA))[:16]
	}
	return ""
}

// compareTrust compares what an API server reads only when it starts. An
// AuthenticationConfiguration is reloaded by the API server, except for the
// rules for anonymous requests.
func compareTrust(path string, before, after profiles.Trust, flagsInPlace bool, compare func(field string, before, after any)) {
	if before.Configuration != nil && after.Configuration != nil {
		compare(path+".configuration.anonymous", inJSON(before.Configuration.Anonymous), inJSON(after.Configuration.Anonymous))
		return
	}
	if flagsInPlace {
		return
	}
	compare(path+", flags or configuration", by(before), by(after))
	if before.Flags == nil || after.Flags == nil {
		return
	}
	compare(path+".flags.clientID", before.Flags.ClientID, after.Flags.ClientID)
	compare(path+".flags.usernameClaim", before.Flags.UsernameClaim, after.Flags.UsernameClaim)
	compare(path+".flags.usernamePrefix", before.Flags.UsernamePrefix, after.Flags.UsernamePrefix)
	compare(path+".flags.groupsClaim", before.Flags.GroupsClaim, after.Flags.GroupsClaim)
	compare(path+".flags.groupsPrefix", before.Flags.GroupsPrefix, after.Flags.GroupsPrefix)
}

// compareNodes compares what nodes are made with.
func compareNodes(path string, before, after profiles.Nodes, compare func(field string, before, after any)) {
	compare(path+".controlPlanes", max(1, before.ControlPlanes), max(1, after.ControlPlanes))
	compare(path+".workers", before.Workers, after.Workers)
	compare(path+".image", before.Image, after.Image)
	compare(path+".extraPortMappings", inJSON(before.ExtraPortMappings), inJSON(after.ExtraPortMappings))
	compare(path+".sparePorts", before.Spare(), after.Spare())
	compare(path+".extraMounts", inJSON(before.ExtraMounts), inJSON(after.ExtraMounts))
	compare(path+".featureGates", inJSON(before.FeatureGates), inJSON(after.FeatureGates))
	compare(path+".kubeadmConfigPatches", inJSON(before.KubeadmConfigPatches), inJSON(after.KubeadmConfigPatches))
	compare(path+".kind", inJSON(before.Kind), inJSON(after.Kind))
}

func by(t profiles.Trust) string {
	if t.Flags != nil {
		return "flags"
	}
	return "configuration"
}

func inJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func show(value any) any {
	if value == "" {
		return `""`
	}
	return value
}

// endpointPlaces are endpoints with their clusters, whose nodes have the ports.
func (r *Record) endpointPlaces() string {
	var names []string
	for _, x := range r.Profile.Spec.Endpoints {
		names = append(names, x.Cluster+"/"+x.Namespace+"/"+x.Name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// ClusterNames are the names of the profile's clusters, in its order.
func (r *Record) ClusterNames() string {
	var names []string
	for _, c := range r.Profile.Spec.Clusters {
		names = append(names, c.Name)
	}
	return strings.Join(names, ", ")
}

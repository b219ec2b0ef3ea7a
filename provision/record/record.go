// Package record is what an environment is made from: its profile with every
// password, port and key resolved. It is data; nothing here runs anything.
package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/progress"
	"github.com/devenv-oidc/devenv/provision/state"
)

// Record is stored as environment.json in the environment's state folder.
// Fields are added, never renamed: an older record stays readable.
type Record struct {
	// Name of the environment.
	Name string `json:"name"`
	// Plugin is the devenv that the kubeconfig for the first user calls for tokens;
	// empty where that kubeconfig holds one.
	Plugin string `json:"plugin,omitempty"`
	// Created is when the environment was first asked for; zero in records from
	// before there was this field.
	Created time.Time `json:"created,omitzero"`
	// Profile with defaults, and with every password and secret filled in.
	Profile profiles.Environment `json:"profile"`
	// Arguments are those of the command line by which `up` was told the profile.
	Arguments string `json:"arguments,omitempty"`
	// Runtime is kind or process, and RuntimeChosen says that devenv chose it.
	Runtime       string `json:"runtime"`
	RuntimeChosen bool   `json:"runtimeChosen,omitempty"`
	// Engine is the container engine's command: docker, podman or nerdctl.
	Engine string `json:"engine,omitempty"`
	// IssuerPort is the issuer's port everywhere: on the host's loopback, on
	// the node and in the cluster; 0 where somebody else runs it.
	IssuerPort int `json:"issuerPort"`
	// APIPorts are the API servers' ports on the host's loopback, by cluster.
	APIPorts map[string]int `json:"apiPorts"`
	// InternalPorts are those of plain processes that nobody outside of the
	// environment needs, by name.
	InternalPorts map[string]int `json:"internalPorts,omitempty"`
	// EndpointPorts are those of the profile's endpoints, by name: the same
	// everywhere, as the issuer's.
	EndpointPorts map[string]int `json:"endpointPorts,omitempty"`
	// Trust is what clusters trust, by name, as the profile says it where that has
	// placeholders: in Profile their values are in their places.
	Trust map[string]profiles.Trust `json:"trust,omitempty"`
	// Exposed are endpoints that `devenv expose` added; they are among the profile's.
	Exposed []profiles.Endpoint `json:"exposed,omitempty"`
	// SparePorts are for others, by cluster: the node has them already.
	SparePorts map[string][]int `json:"sparePorts,omitempty"`
	// SharePort is where `devenv share` listens; 0 where nothing is shared.
	SharePort int `json:"sharePort,omitempty"`
	// Random are the values of the placeholders ${random.NAME}, by name.
	Random map[string]string `json:"random,omitempty"`
	// Sources is the sources file that the last `up` used, and Pins the pinned
	// versions with that file laid over them.
	Sources string        `json:"sources,omitempty"`
	Pins    profiles.Pins `json:"pins"`
	// Timings of the last `up`.
	Timings []progress.Timing `json:"timings,omitempty"`
	// Ready says that the last `up` succeeded, check included.
	Ready bool `json:"ready"`
}

const file = "environment.json"

// Load reads an environment's record; fs.ErrNotExist where there is none.
func Load(dir state.Dir) (*Record, error) {
	text, err := dir.Read(file)
	if err != nil {
		return nil, err
	}
	var r Record
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("could not read %s: %w", dir.Path(file), err)
	}
	if name := filepath.Base(string(dir)); r.Name != name || len(r.Profile.Spec.Clusters) == 0 {
		return nil, fmt.Errorf("could not read %s: it is not the record of an environment %q", dir.Path(file), name)
	}
	if r.Runtime == "" { // written when there was only one
		r.Runtime = profiles.RuntimeKind
	}
	return &r, nil
}

// Exists says whether an environment has a record, readable or not.
func Exists(dir state.Dir) bool {
	_, err := os.Stat(dir.Path(file))
	return !errors.Is(err, fs.ErrNotExist)
}

// Save writes the record into the environment's folder.
func (r *Record) Save(dir state.Dir) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	_, err = dir.Write(append(text, '\n'), file)
	return err
}

// First is the cluster that holds Dex's objects, and its pods where pods run.
func (r *Record) First() profiles.Cluster { return r.Profile.Spec.Clusters[0] }

// Ports are all ports of the environment.
func (r *Record) Ports() []int {
	ports := append(slices.Collect(maps.Values(r.APIPorts)), slices.Collect(maps.Values(r.InternalPorts))...)
	ports = append(append(ports, r.IssuerPort, r.SharePort), slices.Collect(maps.Values(r.EndpointPorts))...)
	for _, spare := range r.SparePorts {
		ports = append(ports, spare...)
	}
	return slices.DeleteFunc(ports, func(port int) bool { return port == 0 })
}

// DefaultName is the environment that commands mean when they name none.
const DefaultName = "dev"

// NameFlag is how a command line names an environment, for hints: " --name x",
// and nothing for the default.
func NameFlag(name string) string {
	if name == DefaultName {
		return ""
	}
	return " --name " + name
}

// UpAgain is the command that made the environment, for hints.
func (r *Record) UpAgain() string { return "devenv up" + NameFlag(r.Name) + r.Arguments }

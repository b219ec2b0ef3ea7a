// Package report carries a whole case to somebody else: it collects what is
// known of an environment into one archive without secrets, and reads such an
// archive again, to rebuild the environment or to compare results.
package report

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/check"
	"github.com/devenv-oidc/devenv/provision/diagnosis"
	"github.com/devenv-oidc/devenv/provision/drift"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/jwt"
	"github.com/devenv-oidc/devenv/provision/kube"
	"github.com/devenv-oidc/devenv/provision/progress"
	"github.com/devenv-oidc/devenv/provision/proofs"
	"github.com/devenv-oidc/devenv/provision/session"
)

// version of the format. Fields are added under the same version.
const version = 1

// Report is what report.json of an archive holds.
type Report struct {
	// Version of the format: 1.
	Version int `json:"version"`
	// Devenv is the version of the devenv that wrote it, and Created when.
	Devenv  string    `json:"devenv"`
	Created time.Time `json:"created"`
	// Name, Runtime and Ready are the environment's.
	Name    string `json:"name"`
	Runtime string `json:"runtime"`
	Ready   bool   `json:"ready"`
	Host    Host   `json:"host"`
	// Profile as it was resolved, with placeholders for passwords and secrets.
	Profile profiles.Environment `json:"profile"`
	Pins    profiles.Pins        `json:"pins"`
	Issuer  string               `json:"issuer"`
	// Clusters by name with their state.
	Clusters map[string]string `json:"clusters"`
	// Timings of the last `up`.
	Timings []progress.Timing `json:"timings,omitempty"`
	// Doctor is what a login met, hop by hop.
	Doctor *diagnosis.Report `json:"doctor,omitempty"`
	// Differences of the environment from its profile.
	Differences []kube.Difference `json:"differences,omitempty"`
	// Results of the proofs; none where the check could not be made.
	Results []check.Result `json:"results,omitempty"`
	// Claims of each user's token, by e-mail.
	Claims map[string]map[string]any `json:"claims,omitempty"`
	// Missing says what could not be collected, and why.
	Missing []string `json:"missing,omitempty"`
}

// Host is the machine.
type Host struct {
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	CPUs   int    `json:"cpus"`
	Kernel string `json:"kernel,omitempty"`
	Engine string `json:"engine,omitempty"`
}

// Runtime is what a report needs of whatever runs the environment.
type Runtime interface {
	diagnosis.Runtime
	drift.Runtime
	proofs.Runtime
	CollectLogs(ctx context.Context, folder string) error
}

// partLimit is how long each part may take: an environment that is reported is
// often one that does not answer.
const partLimit = 30 * time.Second

// Write collects a report about an environment and writes it to a file, which
// must not exist. devenv is the program's own version.
func Write(ctx context.Context, e *environment.Environment, r Runtime, devenv, file string) error {
	c := &collector{env: e, runtime: r, redactor: newRedactor(), report: Report{
		Version: version, Devenv: devenv, Created: time.Now().UTC().Truncate(time.Second),
		Name: e.Name(), Runtime: e.Record.Runtime, Ready: e.Record.Ready, Issuer: e.Issuer(),
		Host:    Host{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Kernel: kernel(), Engine: e.Record.Engine},
		Profile: e.Record.Profile, Pins: e.Record.Pins, Timings: e.Record.Timings, Clusters: map[string]string{},
	}}
	learning, cancel := context.WithTimeout(ctx, partLimit)
	learn(learning, e, c.redactor)
	cancel()
	for _, part := range c.parts() {
		limited, cancel := context.WithTimeoutCause(ctx, partLimit, fmt.Errorf("the limit of %s was reached", partLimit))
		if err := part.collect(limited); err != nil {
			c.report.Missing = append(c.report.Missing, part.name+": "+err.Error())
		}
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return c.write(file)
}

func kernel() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// collector gathers the parts of one report.
type collector struct {
	env      *environment.Environment
	runtime  Runtime
	redactor *redactor
	report   Report
	files    []file
}

type file struct {
	name string
	text []byte
}

type part struct {
	name    string
	collect func(ctx context.Context) error
}

// parts are all that a report holds beside the record. One that fails is named
// in the report, and the others go on.
func (c *collector) parts() []part {
	list := []part{
		{"profile", c.profile},
		{"doctor", c.doctor},
		{"differences from the profile", c.drift},
		{"check", c.check},
		{"claims", c.claims},
		{"state folder", c.stateFolder},
		{"logs", c.logs},
	}
	for _, cluster := range c.env.Spec().Clusters {
		list = append(list,
			part{"state of cluster " + cluster.Name, func(ctx context.Context) error { return c.state(ctx, cluster) }},
			part{"API server of cluster " + cluster.Name, func(ctx context.Context) error { return c.flags(ctx, cluster) }},
			part{"objects of cluster " + cluster.Name, func(ctx context.Context) error { return c.objects(ctx, cluster) }})
	}
	return list
}

// add adds a file, without secrets.
func (c *collector) add(name string, text []byte) {
	c.files = append(c.files, file{name, c.redactor.redact(text)})
}

// profile is that of the record with placeholders in the fields for secrets,
// whatever stands there: a password can be short, or an ordinary word.
func (c *collector) profile(context.Context) error {
	profile := c.env.Record.Profile
	exposed := func(x profiles.Endpoint) bool { return slices.Contains(names(c.env.Record.Exposed), x.Name) }
	profile.Spec.Clusters = slices.Clone(profile.Spec.Clusters)
	for i := range profile.Spec.Clusters {
		if said, filled := c.env.Record.Trust[profile.Spec.Clusters[i].Name]; filled { // the values are this environment's
			profile.Spec.Clusters[i].Trust = said
		}
	}
	profile.Spec.Endpoints = slices.DeleteFunc(slices.Clone(profile.Spec.Endpoints), exposed) // no profile's
	users, clients := slices.Clone(profile.Spec.Users()), slices.Clone(profile.Spec.Clients())
	for i := range users {
		if u := &users[i]; u.Password != "" {
			u.Password = c.redactor.placeholder("password", u.Password)
		}
		if t := users[i].Token; t != nil && len(t.Command) > 1 { // its arguments can be secrets
			command := slices.Clone(t.Command)
			for j := range command[1:] {
				command[j+1] = c.redactor.placeholder("argument", command[j+1])
			}
			users[i].Token = &profiles.TokenSource{Command: command}
		}
	}
	for i := range clients {
		if client := &clients[i]; client.Secret != "" {
			client.Secret = c.redactor.placeholder("client-secret", client.Secret)
		}
	}
	if profile.Spec.Issuer != nil {
		issuer := *profile.Spec.Issuer
		issuer.Users, issuer.Clients = users, clients
		profile.Spec.Issuer = &issuer
	} else {
		profile.Spec.Dex.Users, profile.Spec.Dex.Clients = users, clients
	}
	hide := func(value string) string { return c.redactor.placeholder("secret", value) }
	profile.Spec.Dex.Connectors = eachSecretField(profile.Spec.Dex.Connectors, hide)
	profile.Spec.Dex.Values = eachSecretField(profile.Spec.Dex.Values, hide)
	c.report.Profile = profile
	text, err := yaml.Marshal(profile)
	c.add("profile.yaml", text)
	return err
}

func names(endpoints []profiles.Endpoint) []string {
	var list []string
	for _, x := range endpoints {
		list = append(list, x.Name)
	}
	return list
}

func (c *collector) drift(ctx context.Context) (err error) {
	c.report.Differences, err = drift.Find(ctx, c.env, c.runtime)
	return err
}

func (c *collector) doctor(ctx context.Context) error {
	c.report.Doctor = diagnosis.Login(ctx, c.env, c.runtime, diagnosis.LoginRequest{})
	return nil
}

func (c *collector) check(ctx context.Context) error {
	results, err := proofs.Check(ctx, c.env, c.runtime, proofs.Options{})
	if err == nil {
		c.report.Results = results.Results
	}
	return err
}

// claimsLimit is how many users' tokens a report looks into.
const claimsLimit = 20

func (c *collector) claims(ctx context.Context) error {
	c.report.Claims = map[string]map[string]any{}
	users := c.env.Spec().Users()
	for _, u := range users[:min(claimsLimit, len(users))] {
		token, err := session.Token(ctx, c.env, session.TokenRequest{User: u.Email})
		if err != nil {
			return err // Dex answers nobody, or the doctor says why not this one
		}
		if c.report.Claims[u.Email], err = jwt.Claims(token); err != nil {
			return err
		}
	}
	return nil
}

func (c *collector) state(ctx context.Context, cluster profiles.Cluster) error {
	if err := c.runtime.Find(ctx); err != nil {
		return err
	}
	state, err := c.runtime.State(ctx, cluster.Name)
	c.report.Clusters[cluster.Name] = state
	return err
}

func (c *collector) flags(ctx context.Context, cluster profiles.Cluster) error {
	have, want, err := c.runtime.APIServerFlags(ctx, cluster.Name)
	if err != nil {
		return err
	}
	text, err := yaml.Marshal(map[string]any{"runs with": have, "devenv asks for": want})
	c.add("clusters/"+cluster.Name+"/api-server-flags.yaml", text)
	return err
}

// fileLimit is how much of the end of each log is taken.
const fileLimit = 1 << 20

// stateFolder takes the logs of the last `up` and what devenv configured.
func (c *collector) stateFolder(context.Context) error {
	return c.folder(string(c.env.Dir), "state", func(path string) bool {
		return strings.HasSuffix(path, ".log") || strings.HasSuffix(path, ".crt") || strings.HasSuffix(path, "config.yaml")
	})
}

func (c *collector) logs(ctx context.Context) error {
	if err := c.runtime.Find(ctx); err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "devenv-report-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	err = c.runtime.CollectLogs(ctx, folder) // what there is counts, also where not all could be had
	if addErr := c.folder(folder, "logs", func(string) bool { return true }); err == nil {
		err = addErr
	}
	return err
}

// folder takes regular files of a folder, and of each no more than its end.
func (c *collector) folder(folder, as string, want func(path string) bool) error {
	return filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !want(path) {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.IndexByte(text, 0) >= 0 {
			return nil // not text, such as a journal: secrets in it could not be seen
		}
		relative, err := filepath.Rel(folder, path)
		c.files = append(c.files, file{as + "/" + filepath.ToSlash(relative), end(c.redactor.redact(text))})
		return err
	})
}

// end is no more than the last lines of a text, whole ones: of one that is cut
// nobody could tell what it was.
func end(text []byte) []byte {
	if len(text) <= fileLimit {
		return text
	}
	text = text[len(text)-fileLimit:]
	return text[bytes.IndexByte(text, '\n')+1:]
}

// redacted is the report without secrets, of the same shape.
func (c *collector) redacted() (*Report, []byte, error) {
	text, err := json.Marshal(c.report)
	if err != nil {
		return nil, nil, err
	}
	var values any
	if err := json.Unmarshal(text, &values); err != nil {
		return nil, nil, err
	}
	if text, err = json.MarshalIndent(c.redactor.value(values), "", "  "); err != nil {
		return nil, nil, err
	}
	var clean Report
	return &clean, text, json.Unmarshal(text, &clean)
}

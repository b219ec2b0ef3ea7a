// Package devenvtest gives Go tests a Kubernetes cluster that trusts an OpenID
// Connect provider, with users who have real tokens.
//
//	func TestAPI(t *testing.T) {
//		env := devenvtest.Up(t, devenvtest.Profile("default"), devenvtest.Runtime("process"))
//		token := env.Token(t, "dev@example.com")
//		client := kubernetes.NewForConfigOrDie(env.Config(t, "dev@example.com"))
//		…
//	}
//
// Tests that ask for the same environment share it, also those of other packages
// of one `go test ./...`; it is deleted when that command has ended, however it
// ended. So nothing has to be torn down. Tests beside each other take a
// [Env.Namespace] each.
//
// It needs what devenv needs: Linux and binaries for the runtime "process", or a
// container engine for "kind". DEVENV_SOURCES and DEVENV_HOME mean what they mean
// to the command.
package devenvtest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/process"
	"github.com/devenv-oidc/devenv/provision/progress"
	"github.com/devenv-oidc/devenv/provision/state"
)

// Option says what the environment is.
type Option func(*options)

type options struct {
	profile, file, runtime, name string
	set                          []string
	timeout                      time.Duration
}

// Profile is a shipped profile: "default", "greenhouse" …
func Profile(name string) Option { return func(o *options) { o.profile = name } }

// ProfileFile is a profile of the project's own, a path.
func ProfileFile(path string) Option { return func(o *options) { o.file = path } }

// Set changes a field of the profile, as --set does:
// "spec.dex.idTokenLifetime=10m".
func Set(assignment string) Option {
	return func(o *options) { o.set = append(o.set, assignment) }
}

// Runtime is "process" (no pods, the first token in seconds), "kind" or "auto";
// the profile's own without it.
func Runtime(name string) Option { return func(o *options) { o.runtime = name } }

// Timeout for making the environment; 10 minutes without it, and never longer
// than the test may take.
func Timeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// Name shares a standing environment of that name, made by whoever needs it
// first, which stays until `devenv down --name NAME`. The variable
// DEVENVTEST_NAME does the same from outside, to save its creation while a test
// is being written.
func Name(name string) Option { return func(o *options) { o.name = name } }

// made are the environments of this process, by name and what was asked for.
var made = struct {
	sync.Mutex
	environments map[string]*provision.Environment
}{environments: map[string]*provision.Environment{}}

// Up makes an environment and proves it, or shares the one that the same options
// made before. The test ends with devenv's own error and hints where that cannot
// be done.
//
// When a test that called it fails, a report (an archive without secrets: logs,
// objects, a diagnosis) is kept: in the test's folder of artifacts with
// `go test -artifacts`, else in $DEVENVTEST_REPORTS or the folder
// devenvtest-reports for temporary files.
func Up(t testing.TB, with ...Option) *Env {
	t.Helper()
	var o options
	for _, option := range with {
		option(&o)
	}
	profile, err := o.load()
	if err != nil {
		fatal(t, "could not load the profile", err)
	}
	home, err := state.DefaultHome()
	if err != nil {
		fatal(t, "could not find the state folder", err)
	}
	request := provision.UpRequest{
		Home: home, Profile: profile, Runtime: o.runtime, Sources: os.Getenv("DEVENV_SOURCES"),
		Arguments: o.arguments(), Timeout: o.timeout, Progress: progress.Func(func(e progress.Event) { narrate(t, e) }),
	}
	owner := 0
	if request.Name = cmp.Or(os.Getenv("DEVENVTEST_NAME"), o.name); request.Name == "" {
		owner = runner()
		request.Name = o.fingerprint(owner)
		if process.Supported() == nil {
			request.OwnerPIDs = []int{owner}
			request.Reaper = []string{reaperArgument, string(home), request.Name}
		} else {
			ttl := time.Hour // and the next `up` deletes it
			request.TTL = &ttl
		}
	}

	made.Lock()
	defer made.Unlock()
	key := request.Name + "\n" + request.Arguments + "\n" + request.Runtime
	e := made.environments[key]
	if e == nil {
		ctx, cancel := within(t)
		defer cancel()
		if e, err = ensure(ctx, request, owner); err != nil {
			fatal(t, "environment "+request.Name, err)
		}
		made.environments[key] = e
	}
	t.Cleanup(func() {
		if t.Failed() {
			keepReport(t, e, request.Name)
		}
	})
	return &Env{Name: request.Name, Issuer: e.Issuer(), CAFile: e.IssuerCAFile(), e: e, cluster: profile.Spec.Clusters[0].Name}
}

// ensure shares an environment that is ready, or makes it so. Where another test
// process is at it, it waits for that one.
func ensure(ctx context.Context, request provision.UpRequest, owner int) (*provision.Environment, error) {
	for {
		e, err := share(ctx, request, owner)
		if e == nil && err == nil {
			e, err = provision.Up(ctx, request)
		}
		var busy *state.BusyError
		if !errors.As(err, &busy) {
			return e, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: another process has been working on it all the time", context.Cause(ctx))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// share opens an environment that is ready; nil where there is none. One that has
// a name of somebody's choice may be another than what is asked for.
func share(ctx context.Context, request provision.UpRequest, owner int) (*provision.Environment, error) {
	if _, err := os.Stat(string(request.Home.Dir(request.Name))); owner == 0 || errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	e, err := provision.Open(ctx, request.Home, request.Name)
	if err != nil {
		return nil, nil // `up` says what is wrong with it
	}
	err = e.Own(ctx, owner)
	if failure.ClassOf(err) == failure.Usage && err != nil { // it has gone meanwhile
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	status, err := e.Status(ctx)
	if err != nil || !status.Ready {
		return nil, nil
	}
	return e, nil
}

func (o *options) load() (*profiles.Environment, error) {
	if o.file != "" {
		return profiles.LoadFile(o.file, o.set...)
	}
	return profiles.Load(cmp.Or(o.profile, "default"), o.set...)
}

// arguments name the profile on devenv's command line, for hints.
func (o *options) arguments() string {
	text := ""
	switch {
	case o.file != "":
		path, err := filepath.Abs(o.file)
		if err != nil {
			path = o.file
		}
		text = " --file " + failure.Word(path)
	case cmp.Or(o.profile, "default") != "default":
		text = " --profile " + o.profile
	}
	for _, set := range o.set {
		text += " --set " + failure.Word(set)
	}
	return text
}

// fingerprint names the environment of a test run: the same for the same
// options, another for another run. Names have at most 20 characters.
func (o *options) fingerprint(owner int) string {
	identity, _ := process.Identify(owner)
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %s\n%s\n%s", owner, identity.Started, identity.Boot, o.arguments(), o.runtime))
	return "test-" + hex.EncodeToString(sum[:5])
}

// runner is the process of this test run: the `go test` that started this test
// program, or the program itself where somebody else did.
func runner() int {
	parent := os.Getppid()
	if program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", parent)); err == nil && filepath.Base(program) == "go" {
		return parent
	}
	return os.Getpid()
}

// within is the time that a test still has, less a little for its end.
func within(t testing.TB) (context.Context, context.CancelFunc) {
	if t, ok := t.(*testing.T); ok {
		if deadline, ok := t.Deadline(); ok {
			left := time.Until(deadline)
			return context.WithTimeoutCause(t.Context(), left-min(left/10, 10*time.Second), errors.New("the test's own limit was reached"))
		}
	}
	return context.WithCancel(t.Context())
}

func narrate(t testing.TB, e progress.Event) {
	switch e.State {
	case progress.Changed, progress.Failed:
		t.Logf("devenv: %-8s %s (%.1fs) %s", e.State, e.Title, e.Seconds, e.Detail)
	case progress.Note, progress.Waiting:
		t.Logf("devenv: %s %s", e.Title, e.Detail)
	}
}

// fatal ends the test as the command would: what could not be done, and hints.
func fatal(t testing.TB, what string, err error) {
	t.Helper()
	text := fmt.Sprintf("%s: %v", what, err)
	for _, hint := range failure.HintsOf(err) {
		text += "\nhint: " + hint
	}
	t.Fatal(text)
}

var unfit = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// keepReport writes what is known of the environment when a test failed.
func keepReport(t testing.TB, e *provision.Environment, name string) {
	folder := cmp.Or(os.Getenv("DEVENVTEST_REPORTS"), filepath.Join(os.TempDir(), "devenvtest-reports"))
	if f := flag.Lookup("test.artifacts"); f != nil && f.Value.String() == "true" {
		folder = t.ArtifactDir()
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Logf("devenv: no report: %v", err)
		return
	}
	file := filepath.Join(folder, fmt.Sprintf("%s-%s-%d.zip", name, strings.Trim(unfit.ReplaceAllString(t.Name(), "-"), "-"), os.Getpid()))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // the test's own is over
	defer cancel()
	if err := e.Report(ctx, "devenvtest", file); err != nil {
		t.Logf("devenv: no report: %v", err)
		return
	}
	t.Logf("devenv: a report of the environment is in %s", file)
}

// reaperArgument starts a test program as the reaper of an environment.
const reaperArgument = "devenvtest-reaper"

// The environment must go when every process that knows of it was killed, and no
// devenv may be installed: so the test program is started once more, and comes
// here before any test of it.
func init() {
	if len(os.Args) != 4 || os.Args[1] != reaperArgument {
		return
	}
	klog.SetLogger(logr.Discard())
	if err := provision.Reap(context.Background(), state.Home(os.Args[2]), os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

package diagnosis

import (
	"cmp"
	"context"
	"time"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/process"
	"github.com/devenv-oidc/devenv/provision/record"
)

// Runtime is what a diagnosis needs of whatever runs the environment.
type Runtime interface {
	Find(ctx context.Context) error
	State(ctx context.Context, cluster string) (string, error)
	Processes() []process.Status
	APIServerLog(ctx context.Context, cluster string) (string, error)
	// APIServerFlags are the flags of a cluster's API server as it runs, and
	// those that devenv gave it; without dashes.
	APIServerFlags(ctx context.Context, cluster string) (have []string, want map[string]string, err error)
}

// LoginRequest says whose login to follow.
type LoginRequest struct {
	// User by e-mail; the first whose token the cluster must accept when empty.
	User string
	// Token from elsewhere, to be explained in the place of a new one.
	Token string
}

// hopLimit is how long a hop takes at most: nothing here waits for what may
// never come.
const hopLimit = 5 * time.Second

// Login follows a login in the environment's first cluster.
func Login(ctx context.Context, e *environment.Environment, runtime Runtime, r LoginRequest) *Report {
	d := &login{Environment: e, runtime: runtime, request: r, cluster: e.First()}
	report := &Report{}
	follow(ctx, report, limited(d.path()))
	if d.reachable {
		besides(ctx, report, limited(d.beside()))
	}
	return report
}

// login is one that is followed; hops leave here what later ones need.
type login struct {
	*environment.Environment
	runtime Runtime
	request LoginRequest
	cluster profiles.Cluster

	reachable bool // the API server answers
	user      profiles.User
	token     string
	claims    map[string]any
}

// path is a login from end to end.
func (d *login) path() []hop {
	var path []hop
	if d.Environment.Runtime.Pods {
		path = append(path, hop{"engine", d.engine}, hop{"node", d.node})
	} else {
		path = append(path, hop{"processes", d.processes})
	}
	path = append(path, hop{"api-server", d.apiServer}, hop{"api-server-flags", d.apiServerFlags})
	if d.External() {
		path = append(path, hop{"name-resolution", d.externalNameResolution})
	} else {
		path = append(path, hop{"name-resolution", d.nameResolution}, hop{"issuer", d.issuer})
	}
	return append(path,
		hop{"tcp", d.tcp},
		hop{"tls", d.tls},
		hop{"discovery", d.discovery},
		hop{"keys", d.keys},
		hop{"clock", d.clock},
		hop{"token", d.issueToken},
		hop{"claims", d.checkClaims},
		hop{"authentication", d.authentication},
		hop{"authorization", d.authorization},
	)
}

// beside are what a login does not need, and its applications do.
func (d *login) beside() []hop {
	if !d.Environment.Runtime.Pods {
		return nil
	}
	if d.External() {
		return []hop{{"certificates", d.certificates}, {"workloads", d.workloads}}
	}
	return []hop{{"dns", d.dns}, {"certificates", d.certificates}, {"workloads", d.workloads}}
}

// limited gives every hop its limit.
func limited(hops []hop) []hop {
	for i := range hops {
		look := hops[i].look
		hops[i].look = func(ctx context.Context) finding {
			ctx, cancel := context.WithTimeout(ctx, hopLimit)
			defer cancel()
			return look(ctx)
		}
	}
	return hops
}

// again is the remedy for what `up` heals.
func (d *login) again() string { return d.Record.UpAgain() }

// mendIssuer is the remedy for an issuer that does not do what it should.
func (d *login) mendIssuer() string {
	if d.External() {
		return "somebody else runs it: start or correct it there, or name another one in spec.issuer of the profile"
	}
	return d.again()
}

// recreate is the remedy for what it cannot.
func (d *login) recreate() string {
	return "devenv up --recreate" + record.NameFlag(d.Name()) + d.Record.Arguments
}

func (d *login) logs() string { return "devenv logs" + record.NameFlag(d.Name()) }

func (d *login) newToken() string { return "devenv token" + record.NameFlag(d.Name()) }

// emails are those of the profile's users.
func (d *login) emails() []string {
	var list []string
	for _, u := range d.Spec().Users() {
		list = append(list, u.Email)
	}
	return list
}

// wantedUser is the user whose login is followed.
func (d *login) wantedUser() (profiles.User, bool) {
	for _, u := range d.Spec().Users() {
		if u.Email == d.request.User || d.request.User == "" && (*u.EmailVerified || !d.cluster.Trust.Provider().NeedsVerified()) {
			return u, true
		}
	}
	return profiles.User{Email: cmp.Or(d.request.User, "nobody")}, false
}

package kindruntime

import (
	"context"
	"errors"
	"fmt"

	"github.com/devenv-oidc/devenv/provision/cluster"
	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/steps"
)

// explain gives errors of kind and of the engine their class and hints.
func (r *Runtime) explain(err error) error {
	var (
		notOurs      *cluster.NotOursError
		unprivileged *cluster.UnprivilegedError
		missing      *cluster.MissingFlagsError
		gone         *cluster.GoneNodeError
		moved        *cluster.ChangedAddressError
	)
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &notOurs) && notOurs.Files != "":
		home, name := environment.OwnerOf(notOurs.Files)
		return failure.New(failure.Prerequisite, fmt.Errorf("%w, but to environment %q below the state folder %s", err, name, home),
			"devenv leaves it alone; choose another name: devenv up --name OTHER",
			fmt.Sprintf("or, if nobody needs it any more: DEVENV_HOME=%s devenv down --name %s", failure.Word(string(home)), name))
	case errors.As(err, &notOurs):
		return failure.New(failure.Prerequisite, err,
			"devenv leaves it alone; choose another name: devenv up --name OTHER",
			"or delete it yourself: kind delete cluster --name "+notOurs.Name)
	case errors.As(err, &gone), errors.As(err, &moved):
		return failure.New(failure.Provisioning, err, "recreate the environment, its data will be lost: devenv up --recreate"+record.NameFlag(r.env.Name())+r.env.Record.Arguments)
	case errors.As(err, &missing):
		return failure.New(failure.Provisioning, err,
			"put them back in /etc/kubernetes/manifests/kube-apiserver.yaml on the node",
			"or recreate the cluster, its data will be lost: devenv up --recreate"+record.NameFlag(r.env.Name())+r.env.Record.Arguments)
	case errors.As(err, &unprivileged):
		return failure.New(failure.Prerequisite, &failure.UnsuitableError{Err: err},
			"the nodes of a cluster are privileged containers: run the engine where they are allowed",
			"or without pods: "+r.env.Record.UpAgain()+" --runtime process")
	}
	return steps.ExplainPort(r.env, err)
}

// explainStep is explain for a step of the plan, which several nodes at once can
// keep from working.
func (r *Runtime) explainStep(err error) error {
	var typed *failure.Error
	err = r.explain(err)
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	limit, low := cluster.LowInotify()
	if low && (!errors.As(err, &typed) || typed.Class == failure.Provisioning) {
		return failure.New(failure.Provisioning, err,
			fmt.Sprintf("several nodes at once need more inotify instances than this machine's %d: sudo sysctl fs.inotify.max_user_instances=512", limit))
	}
	return err
}

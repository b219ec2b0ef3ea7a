package provision

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/devenv-oidc/devenv/provision/cluster"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/process"
	"github.com/devenv-oidc/devenv/provision/state"
)

// explain gives the errors of the runtimes their class and hints.
func (e *Environment) explain(err error) error {
	var (
		notOurs      *cluster.NotOursError
		unprivileged *cluster.UnprivilegedError
	)
	name := nameFlag(e.record.Name)
	switch port := portTaken(err); {
	case port != 0:
		other := "or let devenv choose other ports: devenv down" + name + " && " + e.upAgain()
		if port == e.record.Profile.Spec.Dex.Port {
			other = "or choose another one in the profile: spec.dex.port, 0 for any that is free"
		}
		return failure.New(failure.Prerequisite, err, fmt.Sprintf("see what listens there: ss -ltnp 'sport = :%d'", port), other)
	case errors.As(err, &notOurs):
		return failure.New(failure.Prerequisite, err,
			"devenv leaves it alone; choose another name: devenv up --name OTHER",
			"or delete it yourself: kind delete cluster --name "+notOurs.Name)
	case errors.As(err, &unprivileged):
		return failure.New(failure.Prerequisite, err, "the nodes of a cluster are privileged containers: run the engine where they are allowed",
			"or without pods: "+e.upAgain()+" --runtime process")
	}
	return err
}

func portTaken(err error) int {
	var byEngine *cluster.PortTakenError
	var byProcess *process.PortTakenError
	switch {
	case errors.As(err, &byEngine):
		return byEngine.Port
	case errors.As(err, &byProcess):
		return byProcess.Port
	}
	return 0
}

// explainDisk gives errors of the state folder's disk their class and hint.
func explainDisk(home state.Home, err error) error {
	var ended *process.EndedError
	full := errors.Is(err, syscall.ENOSPC) || errors.As(err, &ended) && strings.Contains(ended.Last, syscall.ENOSPC.Error())
	var onPath *fs.PathError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &onPath) && onPath.Op == "fork/exec":
		return failure.New(failure.Prerequisite, err, "the file must be a program that you may start, on a disk that allows it: ls -l "+onPath.Path)
	case full:
		return failure.New(failure.Prerequisite, err, "free some space there, or choose another folder by DEVENV_HOME: df -h "+string(home))
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return failure.New(failure.Prerequisite, err, "choose a folder that you may write to by DEVENV_HOME; now it is "+string(home))
	}
	return err
}

package lifetime

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/devenv-oidc/devenv/provision/process"
	"github.com/devenv-oidc/devenv/provision/state"
)

// engineVariables are what container engines read to find themselves: the
// reaper asks the one that its `up` asked.
var engineVariables = []string{
	"PATH", "HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME",
	"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY",
	"CONTAINER_HOST", "CONTAINER_CONNECTION", "CONTAINERD_ADDRESS", "CONTAINERD_NAMESPACE",
	"KIND_EXPERIMENTAL_DOCKER_NETWORK", "KIND_EXPERIMENTAL_PODMAN_NETWORK",
}

// StartReaper makes a process run that deletes the environment when it is over:
// this very program with these arguments. Where processes cannot be owned
// (other systems than Linux) there is none, and the next `up` or `gc` does it.
func StartReaper(ctx context.Context, dir state.Dir, arguments []string) error {
	program, err := os.Executable()
	if err != nil || process.Supported() != nil {
		return nil
	}
	var environ []string
	for _, name := range engineVariables {
		if value, ok := os.LookupEnv(name); ok {
			environ = append(environ, name+"="+value)
		}
	}
	environ = append(environ, "DEVENV_HOME="+filepath.Dir(string(dir))) // it works in another folder
	reaper := process.Process{
		Folder: string(dir), Name: process.Reaper, Program: program,
		Args: append([]string{program}, arguments...), Env: environ, Inputs: strings.Join(environ, "\x00"),
	}
	_, err = reaper.Ensure(ctx)
	return err
}

package kube

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Kubectl runs a kubectl of this host, the file at path, with a kubeconfig. It
// returns what kubectl prints on stdout; the error holds what it prints on
// stderr. Its files live in a folder of the caller for as long as it
// runs; what it caches of an API server's discovery stays for the next time.
func Kubectl(ctx context.Context, path, folder string, kubeconfig []byte, args ...string) (string, error) {
	scratch, err := os.MkdirTemp(folder, ".kubectl-") // mode 0700
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(scratch)
	file := filepath.Join(scratch, "kubeconfig")
	if err := os.WriteFile(file, kubeconfig, 0o600); err != nil {
		return "", err
	}
	command := exec.CommandContext(ctx, path)
	command.Args = append([]string{"kubectl", "--kubeconfig=" + file}, args...)
	var out, said bytes.Buffer
	command.Stdout, command.Stderr = &out, &said
	cache := filepath.Join(folder, ".kubectl-cache")
	command.Env = append(os.Environ(), "KUBECACHEDIR="+cache)
	defer closeFolder(cache)
	if err := command.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return out.String(), nil
}

// closeFolder leaves a folder to its owner alone: kubectl gives what it caches to
// a group, too, whatever the umask. What another kubectl replaces meanwhile, that
// one's caller closes.
func closeFolder(folder string) {
	_ = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		} else if err == nil {
			_ = os.Chmod(path, 0o600)
		}
		return nil
	})
}

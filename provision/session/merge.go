package session

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/devenv-oidc/devenv/provision/environment"
	"github.com/devenv-oidc/devenv/provision/failure"
)

// Why not clientcmd.ModifyConfig: it compares with a configuration that was
// read before it takes the lock, and so deletes what another program added in
// between.

// mergedFile lists the kubeconfigs into which the environment was merged, one a
// line.
const mergedFile = "merged-kubeconfigs"

// Merge adds a kubeconfig's entries to the user's own file, and leaves its
// current context alone unless it has none. It returns the file and the
// context.
func Merge(e *environment.Environment, config *clientcmdapi.Config) (file, context string, err error) {
	file = clientcmd.NewDefaultPathOptions().GetDefaultFilename()
	unlock, err := lockKubeconfig(file)
	if err != nil {
		return "", "", err
	}
	defer unlock()
	target, err := clientcmd.LoadFromFile(file)
	if errors.Is(err, os.ErrNotExist) {
		target, err = clientcmdapi.NewConfig(), nil
	}
	if err != nil {
		return "", "", fmt.Errorf("could not read %s: %w", file, err)
	}
	prefix := entryPrefix(e)
	for name, value := range config.Clusters {
		target.Clusters[prefix+name] = value
	}
	for name, value := range config.AuthInfos {
		target.AuthInfos[prefix+name] = value
	}
	for name, value := range config.Contexts {
		value = value.DeepCopy()
		value.Cluster, value.AuthInfo = prefix+value.Cluster, prefix+value.AuthInfo
		context = prefix + name
		target.Contexts[context] = value
	}
	if target.CurrentContext == "" {
		target.CurrentContext = context
	}
	if err := rememberMerged(e, file); err != nil {
		return "", "", err
	}
	if err := clientcmd.WriteToFile(*target, file); err != nil {
		return "", "", fmt.Errorf("could not write %s: %w", file, err)
	}
	return file, context, nil
}

// Unmerge removes the environment's entries from every kubeconfig into which
// it was merged.
func Unmerge(e *environment.Environment) (changed bool, err error) {
	files, err := mergedFiles(e)
	if err != nil {
		return false, err
	}
	for _, file := range files {
		did, err := unmergeFrom(file, entryPrefix(e))
		if err != nil {
			return changed, err
		}
		changed = changed || did
	}
	return changed, nil
}

// entryPrefix starts the name of every entry of this environment in somebody
// else's kubeconfig; the slash tells environments apart whose names start alike.
func entryPrefix(e *environment.Environment) string { return "devenv/" + e.Name() + "/" }

func mergedFiles(e *environment.Environment) ([]string, error) {
	text, err := e.Dir.Read(mergedFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // never merged
	}
	return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' }), err
}

func rememberMerged(e *environment.Environment, file string) error {
	files, err := mergedFiles(e)
	if err != nil || slices.Contains(files, file) {
		return err
	}
	_, err = e.Dir.Write([]byte(strings.Join(append(files, file), "\n")+"\n"), mergedFile)
	return err
}

func unmergeFrom(file, prefix string) (changed bool, err error) {
	unlock, err := lockKubeconfig(file)
	if err != nil {
		return false, err
	}
	defer unlock()
	config, err := clientcmd.LoadFromFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("could not read %s: %w", file, err)
	}
	entries := func() int { return len(config.Clusters) + len(config.AuthInfos) + len(config.Contexts) }
	before := entries()
	maps.DeleteFunc(config.Clusters, func(name string, _ *clientcmdapi.Cluster) bool { return strings.HasPrefix(name, prefix) })
	maps.DeleteFunc(config.AuthInfos, func(name string, _ *clientcmdapi.AuthInfo) bool { return strings.HasPrefix(name, prefix) })
	maps.DeleteFunc(config.Contexts, func(name string, _ *clientcmdapi.Context) bool { return strings.HasPrefix(name, prefix) })
	if entries() == before {
		return false, nil
	}
	if strings.HasPrefix(config.CurrentContext, prefix) {
		config.CurrentContext = ""
	}
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		return false, fmt.Errorf("could not write %s: %w", file, err)
	}
	return true, nil
}

// lockKubeconfig takes the lock that kubectl and kind take, a file beside
// (k8s.io/client-go, tools/clientcmd/loader.go).
func lockKubeconfig(file string) (unlock func(), err error) {
	lock := file + ".lock"
	f, err := os.OpenFile(lock, os.O_CREATE|os.O_EXCL, 0o600)
	if os.IsNotExist(err) { // no ~/.kube yet
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(lock, os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		return nil, failure.New(failure.Prerequisite, fmt.Errorf("could not lock %s: %w", file, err), "if no other program is writing it: rm "+lock)
	}
	return func() {
		f.Close()
		os.Remove(lock)
	}, nil
}

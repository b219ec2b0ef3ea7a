package provision

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/devenv-oidc/devenv/provision/failure"
)

// mergedFile remembers into which kubeconfigs the environment was merged.
const mergedFile = "merged-kubeconfigs"

// MergeKubeconfig adds a kubeconfig's entries to the user's own file, and
// leaves its current context alone unless it has none. It returns the file and
// the context.
func (e *Environment) MergeKubeconfig(config *clientcmdapi.Config) (file, context string, err error) {
	options := clientcmd.NewDefaultPathOptions()
	options.LoadingRules.DoNotResolvePaths = true
	file = options.GetDefaultFilename()
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
	prefix := e.entryPrefix()
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
	if err := e.rememberMerged(file); err != nil {
		return "", "", err
	}
	if err := clientcmd.WriteToFile(*target, file); err != nil {
		return "", "", fmt.Errorf("could not write %s: %w", file, err)
	}
	return file, context, nil
}

// entryPrefix starts the name of every entry of this environment in somebody
// else's kubeconfig; the slash keeps environments apart whose names start
// alike.
func (e *Environment) entryPrefix() string { return "devenv/" + e.record.Name + "/" }

func (e *Environment) rememberMerged(file string) error {
	have, err := e.dir.Read(mergedFile)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	files := strings.Split(strings.TrimSpace(string(have)), "\n")
	if len(have) == 0 {
		files = nil
	}
	if slices.Contains(files, file) {
		return nil
	}
	_, err = e.dir.Write([]byte(strings.Join(append(files, file), "\n")+"\n"), mergedFile)
	return err
}

// unmergeKubeconfig takes the environment's entries out of every kubeconfig it
// was merged into.
func (e *Environment) unmergeKubeconfig() (changed bool, err error) {
	have, err := e.dir.Read(mergedFile)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // never merged
	}
	if err != nil {
		return false, err
	}
	for _, file := range strings.Split(strings.TrimSpace(string(have)), "\n") {
		did, err := e.unmergeFrom(file)
		if err != nil {
			return changed, err
		}
		changed = changed || did
	}
	return changed, nil
}

func (e *Environment) unmergeFrom(file string) (changed bool, err error) {
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
	mine := func(name string) bool { return strings.HasPrefix(name, e.entryPrefix()) }
	for name := range config.Contexts {
		if mine(name) {
			delete(config.Contexts, name)
			changed = true
		}
	}
	for name := range config.Clusters {
		if mine(name) {
			delete(config.Clusters, name)
			changed = true
		}
	}
	for name := range config.AuthInfos {
		if mine(name) {
			delete(config.AuthInfos, name)
			changed = true
		}
	}
	if mine(config.CurrentContext) {
		config.CurrentContext = ""
	}
	if !changed {
		return false, nil
	}
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		return false, fmt.Errorf("could not write %s: %w", file, err)
	}
	return true, nil
}

// lockKubeconfig takes the lock that kubectl and kind take, a file beside.
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

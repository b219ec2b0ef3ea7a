// Command ocirun stands before runc on a machine whose capability bounding set
// lacks CAP_SYS_RESOURCE: there runc cannot start a privileged container,
// which asks for every capability. It takes that one capability out of the
// container's config.json, or out of the process file of an exec, and then
// becomes runc.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const missing = "CAP_SYS_RESOURCE"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "ocirun: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if bundle := flag(args, "bundle", "b"); bundle != "" {
		if err := strip(filepath.Join(bundle, "config.json"), "process"); err != nil {
			return err
		}
	}
	if process := flag(args, "process", "p"); process != "" {
		if err := strip(process); err != nil {
			return err
		}
	}
	runc, err := exec.LookPath("runc")
	if err != nil {
		return err
	}
	return syscall.Exec(runc, append([]string{"runc"}, args...), os.Environ())
}

// flag finds --name VALUE, --name=VALUE or -n VALUE.
func flag(args []string, name, short string) string {
	for i, a := range args {
		if value, ok := strings.CutPrefix(a, "--"+name+"="); ok {
			return value
		}
		if (a == "--"+name || a == "-"+short) && i+1 < len(args) {
			return args[i+1]
		}
	}
	return ""
}

// strip removes the capability from the lists of the OCI process that stands
// in the file under path. Everything else stays as it is.
func strip(file string, path ...string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var document map[string]any
	if err := json.Unmarshal(text, &document); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	process := document
	for _, key := range append(path, "capabilities") {
		next, ok := process[key].(map[string]any)
		if !ok {
			return nil // no capabilities: nothing to take away
		}
		process = next
	}
	for set, value := range process {
		if list, ok := value.([]any); ok {
			process[set] = slices.DeleteFunc(list, func(c any) bool { return c == missing })
		}
	}
	if text, err = json.Marshal(document); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

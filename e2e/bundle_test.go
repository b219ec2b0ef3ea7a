package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What a bundle holds is enough: in a network namespace with nothing but a
// loopback of its own, with empty caches, the environment is made and proven.
func TestBundle(t *testing.T) {
	t.Parallel()
	const name = "e2e-bundle"
	folder := t.TempDir()
	file := filepath.Join(folder, "devenv.bundle")
	devenv(t, "bundle", "--runtime", "process", file).wants(t, 0, " + program kube-apiserver", " + program dex", "devenv up --bundle "+file)

	cut := []string{"unshare", "--net", "sh", "-ec", "ip link set lo up; if getent hosts deb.debian.org; then exit 9; fi; eval \"$1\"", "sh"}
	if out, err := exec.Command("unshare", "--net", "ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Logf("a network namespace cannot be made here, so that only the caches are empty: %v: %s", err, out)
		cut = []string{"sh", "-ec"}
	}
	inside := func(script string) (string, error) {
		c := exec.CommandContext(t.Context(), cut[0], append(cut[1:], script)...)
		c.Env = append(os.Environ(), "DEVENV="+binary, "BUNDLE="+file, "DEVENV_NAME="+name, "DEVENV_HOME="+filepath.Join(folder, "state"), "XDG_CACHE_HOME="+filepath.Join(folder, "cache"), "DEVENV_SOURCES=")
		out, err := c.CombinedOutput()
		return string(out), err
	}
	out, err := inside(`
trap '$DEVENV down' EXIT
$DEVENV up --bundle $BUNDLE
$DEVENV check
$DEVENV up --bundle $BUNDLE --set spec.dex.users[0].groups=[others,platform-admins]
$DEVENV users list
`)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, says := range []string{"ready and proven", ", 0 failed", "others, platform-admins", "environment " + name + ": deleted"} {
		if !strings.Contains(out, says) {
			t.Errorf("it did not say %q:\n%s", says, out)
		}
	}

	if out, err := inside(`$DEVENV up --bundle $BUNDLE --runtime kind`); err == nil || !strings.Contains(out, "the bundle is for the runtime process") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := inside(`$DEVENV up --bundle $BUNDLE --profile default`); err == nil || !strings.Contains(out, "--bundle and --profile exclude each other") {
		t.Errorf("%v\n%s", err, out)
	}
	// one byte of it is another
	text, err := os.ReadFile(file)
	noError(t, err)
	noError(t, os.RemoveAll(filepath.Join(folder, "cache")))
	text[len(text)/2] ^= 1
	noError(t, os.WriteFile(file, text, 0o600))
	if out, err := inside(`$DEVENV up --bundle $BUNDLE`); err == nil || !strings.Contains(out, "could not open the bundle "+file) || !strings.Contains(out, "hint: write it again: devenv bundle FILE") {
		t.Errorf("a damaged one: %v\n%s", err, out)
	}
	noError(t, os.WriteFile(file, text[:len(text)/2], 0o600))
	if out, err := inside(`$DEVENV up --bundle $BUNDLE`); err == nil || !strings.Contains(out, "could not open the bundle") {
		t.Errorf("one that is cut short: %v\n%s", err, out)
	}
	devenv(t, "up", "--name", name, "--bundle", filepath.Join(folder, "absent")).wants(t, 2, "could not open the bundle", "no such file")
	devenv(t, "bundle").wants(t, 2, "takes one FILE")
	if left, _ := filepath.Glob(filepath.Join(folder, ".bundle-*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

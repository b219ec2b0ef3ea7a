package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A stranger's project, in a folder of its own, tests an API and a controller
// with package devenvtest. Its packages share an environment, which is gone
// afterwards, also when a test fails and when everything is killed.
func TestSample(t *testing.T) {
	t.Parallel()
	state, reports, folder := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "notes")
	noError(t, os.CopyFS(folder, os.DirFS("sample")))
	here, err := filepath.Abs("..")
	noError(t, err)
	goTest := func(environ []string, args ...string) *exec.Cmd {
		c := exec.CommandContext(t.Context(), "go", append([]string{"test", "-count=1", "-v"}, args...)...)
		c.Dir = folder
		c.Env = append(os.Environ(), append(environ, "DEVENV_HOME="+state, "DEVENVTEST_REPORTS="+reports)...)
		c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		return c
	}
	gone := func(after string) { t.Helper(); emptied(t, state, after) }
	edit := exec.Command("go", "mod", "edit", "-replace=github.com/devenv-oidc/devenv="+here)
	edit.Dir = folder
	if out, err := edit.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	out, err := goTest(nil, "./...").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, text := range []string{"--- PASS: TestAPI", "--- PASS: TestAPI/milk", "--- PASS: TestController", "--- PASS: TestController/changed", "--- PASS: TestAccess"} {
		if !strings.Contains(string(out), text) {
			t.Errorf("it did not say %q:\n%s", text, out)
		}
	}
	if n := strings.Count(string(out), "Create certificate authority"); n != 2 { // and the one that TestAccess changes
		t.Errorf("%d environments were made:\n%s", n, out)
	}
	gone("the tests")

	out, err = goTest([]string{"NOTES_TEST=fail"}, "./interrupted").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "a report of the environment is in "+reports) {
		t.Errorf("%v\n%s", err, out)
	}
	if files, err := filepath.Glob(filepath.Join(reports, "test-*-TestInterrupted-*.zip")); err != nil || len(files) != 1 {
		t.Errorf("reports: %v, %v", files, err)
	}
	gone("a test that failed")

	const standing = "e2e-standing" // of a name that somebody chose: it stays
	if out, err := goTest([]string{"DEVENVTEST_NAME=" + standing}, "./controller").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	own := []string{"DEVENV_HOME=" + state}
	runWith(t, own, "list").wants(t, 0, standing, "by down")
	runWith(t, own, "down", "--name", standing).wants(t, 0, "deleted")
	gone("down")

	stands := filepath.Join(t.TempDir(), "stands")
	killed := goTest([]string{"NOTES_TEST=" + stands}, "./interrupted")
	noError(t, killed.Start())
	eventually(t, "the test to stand still", time.Minute, func() error { _, err := os.Stat(stands); return err })
	var list []struct{ Name string }
	noError(t, json.Unmarshal([]byte(runWith(t, []string{"DEVENV_HOME=" + state}, "list", "--output", "json").stdout), &list))
	if name, err := os.ReadFile(stands); err != nil || len(list) != 1 || list[0].Name != string(name) {
		t.Errorf("%v, want %s, %v", list, name, err)
	}
	noError(t, syscall.Kill(-killed.Process.Pid, syscall.SIGKILL))
	_ = killed.Wait()
	gone("all was killed")
}

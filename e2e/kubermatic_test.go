package e2e

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"

	"github.com/devenv-oidc/devenv/provision/trust"
)

// Somebody else follows the link of `devenv share` in a real browser, logs in
// and gets a kubeconfig, which is good for what is bound to them and no more.
func TestKubermatic(t *testing.T) {
	const user = "user@example.com"
	onEach(t, "kubermatic", func(t *testing.T, name string) {
		// of a check that was killed in the middle of its trial
		left := "devenv-trial-" + trust.Fingerprint([]byte(user + "view"))[:10]
		mustKubectl(t, statusOf(t, name).Clusters[0].Kubeconfig, "create", "clusterrolebinding", left, "--clusterrole=view", "--user="+user)
		devenv(t, "check", "--name", name).wants(t, 0,
			"✓ user@example.com, before view is bound, with kubectl: list pods",
			"✓ user@example.com, with view, can list pods",
			"✓ user@example.com, after view is deleted, cannot list pods",
			"✓ viewer@example.com can list pods in kube-system", ", 0 failed")
		s := statusOf(t, name)
		admin := s.Clusters[0].Kubeconfig
		for _, kind := range []string{"clusterroles", "roles"} {
			want := map[string]string{"clusterroles": "cluster-admin edit list-namespaces view", "roles": "namespace-admin namespace-editor namespace-viewer"}[kind]
			out, err := kubectl(t, admin, "get", kind, "--all-namespaces", "--selector=component=userClusterRole", "--output=jsonpath={.items[*].metadata.name}")
			if err != nil || out != want {
				t.Errorf("%s with the label: %q, %v", kind, out, err)
			}
		}

		link := share(t, name)
		file := download(t, link, s.Issuer.CAFile, person{user, passwordOf(t, name, user)})
		if base := filepath.Base(file); base != "kubeconfig-main-"+user {
			t.Errorf("the file is called %s", base)
		}
		forbidden := `Forbidden): pods is forbidden: User "` + user + `" cannot list resource "pods"`
		if _, err := kubectl(t, file, "get", "pods"); err == nil || !strings.Contains(err.Error(), forbidden) {
			t.Errorf("without a binding: %v", err)
		}
		if _, err := kubectl(t, admin, "create", "clusterrolebinding", "exampleuserviewer", "--clusterrole=view", "--user="+user); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the binding", 20*time.Second, func() error { _, err := kubectl(t, file, "get", "pods"); return err })
		if _, err := kubectl(t, admin, "delete", "clusterrolebinding", "exampleuserviewer"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the end of the binding", 20*time.Second, func() error {
			_, err := kubectl(t, file, "get", "pods")
			if err == nil || !strings.Contains(err.Error(), forbidden) {
				return fmt.Errorf("kubectl said: %v", err)
			}
			return nil
		})

		if name == "e2e-kube-process" { // the same on both
			devenv(t, "share", "--name", name).wants(t, 3, "is taken", "hint: end what listens there")
			devenv(t, "share", "--name", name, "--cluster", "other").wants(t, 2, `cluster "other" does not accept tokens for the client "kubermaticIssuer"`)
			needPlain(t)
			devenv(t, "share", "--name", plain).wants(t, 2, "shares nothing: it has no spec.share")
			gone := must(t, "up", "--name", name, "--profile", "kubermatic", "--set", "spec.clusters[0].access.builtInRoles=[]", "--set", "spec.clusters[0].access.clusterRoles[0].labels={}", "--set", "spec.clusters[0].access.roles[0].labels={}")
			if out, err := kubectl(t, admin, "get", "clusterroles", "--selector=component=userClusterRole", "--output=name"); err != nil || out != "" {
				t.Errorf("labels that the profile has no more: %q, %v\n%s", out, err, gone.stderr)
			}
			if _, err := kubectl(t, admin, "get", "clusterrole", "view"); err != nil {
				t.Error(err)
			}
		}
	})
}

// share starts `devenv share` and returns its link; the test's end interrupts
// it.
func share(t *testing.T, name string) (link string) {
	t.Helper()
	c := exec.Command(binary, "share", "--name", name)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(os.Interrupt)
		if err := c.Wait(); err != nil {
			t.Errorf("devenv share, interrupted: %v", err)
		}
	})
	link, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(link)
}

// download has Chromium follow a link, log a person in and keep the file that
// comes of it. Chromium trusts the environment's authority, and nothing else
// that is not in it already.
func download(t *testing.T, link, caFile string, p person) (file string) {
	t.Helper()
	folder := t.TempDir()
	database := filepath.Join(folder, ".pki", "nssdb") // where Chromium looks for what its user trusts
	if err := os.MkdirAll(database, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-N", "--empty-password"}, {"-A", "-n", "devenv", "-t", "C,,", "-i", caFile}} {
		if out, err := exec.Command("certutil", append(args, "-d", "sql:"+database)...).CombinedOutput(); err != nil {
			t.Fatalf("certutil: %v\n%s", err, out)
		}
	}
	ctx := chromium(t, folder)
	downloaded := make(chan string, 1)
	names := map[string]string{}
	chromedp.ListenTarget(ctx, func(event any) {
		switch e := event.(type) {
		case *cdpbrowser.EventDownloadWillBegin:
			names[e.GUID] = e.SuggestedFilename
		case *cdpbrowser.EventDownloadProgress:
			if e.State == cdpbrowser.DownloadProgressStateCompleted {
				downloaded <- names[e.GUID]
			}
		}
	})
	err := chromedp.Run(ctx,
		cdpbrowser.SetDownloadBehavior(cdpbrowser.SetDownloadBehaviorBehaviorAllow).WithDownloadPath(folder).WithEventsEnabled(true),
		chromedp.Navigate(link),
		chromedp.WaitVisible(`#password`),
		chromedp.SendKeys(`#login`, p.Email),
		chromedp.SendKeys(`#password`, p.Password),
		chromedp.Submit(`#password`),
	)
	if err != nil {
		t.Fatalf("Dex's login page: %v", err)
	}
	select {
	case name := <-downloaded:
		return filepath.Join(folder, name)
	case <-ctx.Done():
		var page string
		_ = chromedp.Run(ctx, chromedp.Text("body", &page))
		t.Fatalf("nothing was downloaded; the page says %q", page)
	}
	return ""
}

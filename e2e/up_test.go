package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
)

func TestSecondUpChangesNothing(t *testing.T) { onBoth(t, testSecondUpChangesNothing) }

func testSecondUpChangesNothing(t *testing.T, name string) {
	r := must(t, "up", "--name", name)
	for line := range strings.Lines(r.stderr) {
		if strings.Contains(line, "✓") {
			t.Errorf("a step changed something: %s", line)
		}
	}
	if !strings.Contains(r.stderr, "unchanged") {
		t.Errorf("no step says unchanged:\n%s", r.stderr)
	}
	if !strings.Contains(r.stdout, "is ready and proven") || strings.Contains(r.stdout, "unchanged") {
		t.Errorf("the result is not alone on stdout:\n%s", r.stdout)
	}
}

func TestUpSpeaksJSON(t *testing.T) { onBoth(t, testUpSpeaksJSON) }

func testUpSpeaksJSON(t *testing.T, name string) {
	r := must(t, "up", "--name", name, "--output", "json")
	decoder := json.NewDecoder(strings.NewReader(r.stdout))
	states := map[string]bool{}
	last := map[string]any{}
	for decoder.More() {
		last = map[string]any{}
		if err := decoder.Decode(&last); err != nil {
			t.Fatalf("stdout is not JSON: %v\n%s", err, r.stdout)
		}
		if s, ok := last["state"].(string); ok {
			states[s] = true
		}
	}
	if !states["started"] || !states["unchanged"] || last["ready"] != true {
		t.Errorf("states %v, last %v", states, last)
	}
	if r.stderr != "" {
		t.Errorf("stderr: %s", r.stderr)
	}
}

func TestChangedUsersAndClients(t *testing.T) {
	needPlain(t)
	claims := func() map[string]any {
		c := map[string]any{}
		out := must(t, "token", "--name", plain, "--user", "dev@example.com", "--client", "demo-app", "--output", "claims").stdout
		if err := json.Unmarshal([]byte(out), &c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	credential := func() string {
		return must(t, "token", "--name", plain, "--user", "dev@example.com", "--output", "exec-credential").stdout
	}
	before, kept := claims(), credential()
	if credential() != kept {
		t.Error("the token was not kept")
	}
	r := must(t, "up", "--name", plain,
		"--set", "spec.dex.clients[1].secret=another-secret",
		"--set", "spec.dex.users[1].groups=[developers, night-shift]",
		"--set", "spec.dex.users[1].password=Another-Password-1")
	if !strings.Contains(r.stderr, "✓ Seed clients and users") {
		t.Errorf("up did not say that it seeded:\n%s", r.stderr)
	}
	after := claims() // with the new secret and the new password
	if groups, _ := json.Marshal(after["groups"]); string(groups) != `["developers","night-shift"]` {
		t.Errorf("groups are %s", groups)
	}
	if credential() == kept {
		t.Error("a token with the old groups is still given out")
	}
	if before["sub"] != after["sub"] {
		t.Errorf("the subject changed from %v to %v", before["sub"], after["sub"])
	}
	must(t, "up", "--name", plain)
	if groups, _ := json.Marshal(claims()["groups"]); string(groups) != `["developers"]` {
		t.Errorf("groups are %s again", groups)
	}
}

func TestFixedFieldsNeedRecreate(t *testing.T) {
	needShared(t)
	before := docker(t, "inspect", "--format={{.Id}}", node(shared))
	devenv(t, "up", "--name", shared, "--set", "spec.clusters[0].trust.flags.groupsPrefix=other:").
		wants(t, 2, "spec.clusters[0].trust.flags.groupsPrefix: oidc: → other:", "--recreate")
	if after := docker(t, "inspect", "--format={{.Id}}", node(shared)); after != before {
		t.Error("the cluster was replaced without being asked")
	}
	must(t, "check", "--name", shared)
}

func TestRecreate(t *testing.T) {
	needShared(t)
	before := docker(t, "inspect", "--format={{.Id}}", node(beside))
	// with a proxy that answers nobody: the API server must not ask it for the issuer
	runWith(t, []string{"HTTPS_PROXY=http://127.0.0.1:1", "HTTP_PROXY=http://127.0.0.1:1"},
		"up", "--name", beside, "--recreate", "--set", "spec.clusters[0].trust.flags.usernamePrefix=-").wants(t, 0, "ready and proven")
	if docker(t, "inspect", "--format={{.Id}}", node(beside)) == before {
		t.Error("the cluster is the old one")
	}
	must(t, "check", "--name", beside)
}

func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	names := []string{"e2e-one", "e2e-two"}
	results := make([]result, len(names))
	var group sync.WaitGroup
	for i, name := range names {
		group.Go(func() { results[i] = devenv(t, "up", "--name", name, "--runtime", "process") })
	}
	group.Wait()
	for i, name := range names {
		results[i].wants(t, 0, "ready and proven")
		must(t, "check", "--name", name)
	}
	must(t, "down", "--name", names[0])
	must(t, "check", "--name", names[1])
	must(t, "down", "--name", names[1])
	for _, name := range names {
		noProcessLeft(t, name)
	}
}

// Twenty environments up and down, in two rows side by side.
func TestTwentyInARow(t *testing.T) {
	for _, row := range []string{"a", "b"} {
		t.Run(row, func(t *testing.T) {
			t.Parallel()
			for i := range 10 {
				name := fmt.Sprintf("e2e-row-%s%d", row, i)
				must(t, "up", "--name", name, "--runtime", "process")
				ports := portsOf(t, name)
				must(t, "down", "--name", name)
				noProcessLeft(t, name, ports...)
			}
		})
	}
}

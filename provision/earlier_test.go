package provision

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/state"
)

// Environments that an earlier devenv made are understood: testdata/records
// holds what version v0.5 stored of the profile default on each runtime.
func TestRecordsOfAnEarlierVersion(t *testing.T) {
	for runtime, issuer := range map[string]string{profiles.RuntimeKind: "https://dex.dev.localhost:", profiles.RuntimeProcess: "https://localhost:"} {
		t.Run(runtime, func(t *testing.T) {
			home := earlier(t, runtime)
			before, err := record.Load(home.Dir("dev"))
			if err != nil {
				t.Fatal(err)
			}
			issuer += record.Loopback(before.IssuerPort)[len("127.0.0.1:"):]

			e, err := Open(t.Context(), home, "dev")
			if err != nil || e.Issuer() != issuer {
				t.Fatalf("open: %v, %v", e, err)
			}
			status, err := e.Status(t.Context())
			if err != nil || status.Runtime != runtime || status.Ready || len(status.Timings) != len(before.Timings) || len(status.Users) != 4 {
				t.Errorf("status: %+v, %v", status, err)
			}
			sources := filepath.Join(t.TempDir(), "sources.yaml")
			if err := os.WriteFile(sources, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			// nothing to recreate, and every port and password stays
			if _, err := home.Dir("dev").Write(nil, "clusters", "main", "node", "complete"); err != nil {
				t.Fatal(err)
			}
			again, err := prepare(t.Context(), UpRequest{Home: home, Name: "dev", Profile: load(t), Sources: sources})
			if err != nil {
				t.Fatalf("up: %v", err)
			}
			for what, pair := range map[string][2]any{
				"ports":   {before.Ports(), again.env.Record.Ports()},
				"users":   {before.Profile.Spec.Dex.Users, again.env.Spec().Dex.Users},
				"clients": {before.Profile.Spec.Dex.Clients, again.env.Spec().Dex.Clients},
				"runtime": {before.Runtime, again.env.Record.Runtime},
			} {
				if ports, ok := pair[0].([]int); ok {
					pair = [2]any{slices.Sorted(slices.Values(ports)), slices.Sorted(slices.Values(pair[1].([]int)))}
				}
				if !reflect.DeepEqual(pair[0], pair[1]) {
					t.Errorf("%s: %v became %v", what, pair[0], pair[1])
				}
			}
			if changed, err := Down(t.Context(), home, "dev"); err != nil || !changed {
				t.Errorf("down: %v, %v", changed, err)
			}
			if home.Dir("dev").Exists() {
				t.Error("down left the state folder")
			}
		})
	}
}

// earlier is a home that holds the record of a runtime, on a machine whose
// engine answers and has no containers.
func earlier(t *testing.T, runtime string) state.Home {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "testdata", "records", runtime+".json"))
	if err != nil {
		t.Fatal(err)
	}
	home, bin := state.Home(t.TempDir()), t.TempDir()
	if _, err := home.Dir("dev").Write(text, "environment.json"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	return home
}

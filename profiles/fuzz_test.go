package profiles

import (
	"os"
	"path/filepath"
	"testing"
)

// A profile comes from anybody: whatever it is, loading it ends with a profile or
// an error, and without a panic. `make fuzz` looks for longer.
func FuzzLoadFile(f *testing.F) {
	for _, name := range Names() {
		text, err := os.ReadFile(name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("spec: {clusters: [{trust: {configuration: {jwt: [{}]}}}]}"))
	f.Add([]byte("[]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file := filepath.Join(t.TempDir(), "profile.yaml")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		profile, err := LoadFile(file)
		if err == nil && len(profile.Spec.Clusters) == 0 {
			t.Error("a profile without clusters was taken")
		}
	})
}

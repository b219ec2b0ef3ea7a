package session

import "testing"

// KUBERNETES_EXEC_INFO comes from whatever starts devenv as a plug-in.
func FuzzExecAPIVersion(f *testing.F) {
	f.Add(`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1"}`)
	f.Add(`null`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, text string) { _ = ExecAPIVersion(text) })
}

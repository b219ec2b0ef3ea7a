package session

import "testing"

func TestExecAPIVersion(t *testing.T) {
	for text, want := range map[string]string{
		`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1"}`: "client.authentication.k8s.io/v1beta1",
		`{"kind":"Pod","apiVersion":"v1"}`:                                              "",
		`nonsense`:                                                                      "",
	} {
		if got := ExecAPIVersion(text); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

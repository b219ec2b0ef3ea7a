package identity

import (
	"bytes"
	"testing"
)

func TestHashesAreRememberedWhileTheyAreUsed(t *testing.T) {
	h := ReadHashes(nil)
	first, err := h.hash("one")
	second, secondErr := h.hash("two")
	again, againErr := h.hash("one")
	if err != nil || secondErr != nil || againErr != nil || !bytes.Equal(first, again) || bytes.Equal(first, second) {
		t.Fatalf("%v, %v, %v: %s, %s, %s", err, secondErr, againErr, first, second, again)
	}
	text, err := h.Text()
	if err != nil {
		t.Fatal(err)
	}
	h = ReadHashes(text)
	if !h.old[fingerprint(first, "one")] || h.old[fingerprint(first, "two")] {
		t.Errorf("it remembers %s", text)
	}
	if !h.verifies(first, "one") || h.verifies(first, "two") || h.verifies([]byte("no hash"), "one") || h.verifies(nil, "") {
		t.Error("a hash is taken for that of another password")
	}
	if text, err = h.Text(); err != nil || ReadHashes(text).old[fingerprint(second, "two")] {
		t.Errorf("nobody asked for it any more: %s, %v", text, err)
	}
	if h = ReadHashes([]byte("{")); !h.verifies(second, "two") {
		t.Error("what cannot be read is a reason to forget, not to fail")
	}
}

package profiles

import (
	"fmt"
	"strings"
	"testing"
)

func TestFill(t *testing.T) {
	value := func(name string) (string, error) {
		if name == "no" {
			return "", fmt.Errorf("there is no %s", name)
		}
		return "<" + name + ">", nil
	}
	for text, want := range map[string]string{
		"plain":                          "plain",
		"a ${x} and ${y.z}":              "a <x> and <y.z>",
		"${x|base64}":                    "PHg+",
		"${x|base64|base64}":             "UEhnKw==",
		"$${x} stays":                    "${x} stays",
		"$(X) and $X are other people's": "$(X) and $X are other people's",
	} {
		if got, err := Fill(text, value); err != nil || got != want {
			t.Errorf("%s became %q, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{"${no}": "there is no no", "${x|hex}": `${x|hex} has "hex"`} {
		if _, err := Fill(text, value); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestFillAllReachesEveryString(t *testing.T) {
	part := map[string]any{"list": []any{map[string]any{"deep": "${x}"}, 1, true, nil}, "number": 30001}
	filled, err := FillAll(part, func(string) (string, error) { return "filled", nil })
	if err != nil || fmt.Sprint(filled) != "map[list:[map[deep:filled] 1 true <nil>] number:30001]" {
		t.Errorf("%v, %v", filled, err)
	}
	if fmt.Sprint(part["list"]) != "[map[deep:${x}] 1 true <nil>]" {
		t.Errorf("the profile itself was changed: %v", part)
	}
	_, err = FillAll(part, func(name string) (string, error) { return "", fmt.Errorf("%s is not known", name) })
	if err == nil {
		t.Error("what is not known was filled")
	}
}

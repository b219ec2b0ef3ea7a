package kindruntime

import (
	"strings"
	"testing"
)

const rule = "    rewrite name exact dex.dev.localhost dex-issuer.dex.svc.cluster.local\n"

func TestRulesGoIntoTheFirstServerBlock(t *testing.T) {
	for name, corefile := range map[string]string{
		"kubeadm's":          ".:53 {\n    errors\n    forward . /etc/resolv.conf\n}\n",
		"another style":      "# ours\n.:53 {   # everything\n\terrors\n}\n",
		"no space":           ".:53{\n    errors\n}\n",
		"a snippet before":   "(snip) {\n    errors\n}\n.:53 {\n    import snip\n}\n",
		"two server blocks":  "example.org:53 {\n    errors\n}\n.:53 {\n    errors\n}\n",
		"with the rule":      ".:53 {\n" + rule + "    errors\n}\n",
		"another rule":       ".:53 {\n    rewrite name exact dex.dev.localhost elsewhere.dex.svc.cluster.local\n    rewrite name exact other.dev.localhost x.y.svc.cluster.local\n    errors\n}\n",
		"the rule, indented": ".:53 {\n\t" + strings.TrimSpace(rule) + "\n}\n",
	} {
		got, err := withRules(corefile, []string{rule})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if strings.Count(got, strings.TrimSpace(rule)) != 1 {
			t.Errorf("%s: the rule is not there once:\n%s", name, got)
		}
		if strings.Contains(got, "elsewhere") || strings.Contains(corefile, "other") != strings.Contains(got, "other") {
			t.Errorf("%s: the wrong rules are left:\n%s", name, got)
		}
		block, _, _ := strings.Cut(got[:strings.Index(got, "rewrite")], "rewrite")
		if i := strings.LastIndex(block, "{"); i < 0 || strings.Contains(block[i:], "}") || strings.HasPrefix(strings.TrimSpace(block[strings.LastIndex(block[:i], "\n")+1:]), "(") {
			t.Errorf("%s: the rule is in no server block:\n%s", name, got)
		}
		if strings.Contains(corefile, "example.org") && strings.Index(got, "rewrite") < strings.Index(got, ".:53") {
			t.Errorf("%s: the rule is not where all names are answered:\n%s", name, got)
		}
		if again, err := withRules(got, []string{rule}); err != nil || again != got {
			t.Errorf("%s: a second time it is another: %v\n%s", name, err, again)
		}
	}
	if _, err := withRules("(snip) {\n}\n", []string{rule}); err == nil {
		t.Error("a Corefile without a server block is taken")
	}
}

package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/devenv-oidc/devenv/provision/failure"
)

// The scripts ask devenv itself: urfave/cli answers --generate-bash-completion
// with the words that may come next.
var completionScripts = map[string]string{
	"bash": `_devenv() {
  local cur words
  cur="${COMP_WORDS[COMP_CWORD]}"
  words=("${COMP_WORDS[@]:0:$COMP_CWORD}")
  [[ "$cur" == -* ]] && words+=("$cur")
  COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$cur"))
}
complete -o bashdefault -o default -F _devenv devenv
`,
	"zsh": `#compdef devenv
_devenv() {
  local -a words_so_far answers
  words_so_far=("${(@)words[1,CURRENT-1]}")
  [[ "${words[CURRENT]}" == -* ]] && words_so_far+=("${words[CURRENT]}")
  answers=("${(@f)$(_CLI_ZSH_AUTOCOMPLETE_HACK=1 "${words_so_far[@]}" --generate-bash-completion 2>/dev/null)}")
  _describe 'devenv' answers
}
compdef _devenv devenv
`,
	"fish": `function __devenv_complete
  set -l words (commandline -opc)
  set -l current (commandline -ct)
  string match -q -- '-*' $current; and set -a words $current
  $words --generate-bash-completion 2>/dev/null
end
complete -c devenv -f -a '(__devenv_complete)'
`,
}

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a completion script for bash, zsh or fish",
		ArgsUsage: "SHELL",
		Description: "bash: source <(devenv completion bash)\n" +
			"zsh:  source <(devenv completion zsh)\n" +
			"fish: devenv completion fish | source",
		Action: func(c *cli.Context) error {
			shell, err := oneArgument(c)
			if err != nil {
				return err
			}
			script, ok := completionScripts[shell]
			if !ok {
				return failure.Newf(failure.Usage, "there is no completion for %q", shell).Hint("choose bash, zsh or fish")
			}
			_, err = fmt.Fprint(c.App.Writer, script)
			return err
		},
	}
}

"""``certmgr completion``: the completion scripts of bash, zsh and fish."""

from __future__ import annotations

import click

from certmgr.cli.completing import COMPLETE_VARIABLE, WORDS_VARIABLE

# IFS is a newline, so that a candidate with a space stays one word. The words are passed in the
# environment, because arguments would have to be quoted. If there are no candidates, "-o default"
# completes the names of files.
_BASH = """# Completion of certmgr for bash: eval "$(certmgr completion bash)" in ~/.bashrc
_certmgr() {
    local IFS=$'\\n'
    local words
    words=$(printf '%s\\n' "${COMP_WORDS[@]:0:COMP_CWORD+1}")
    COMPREPLY=($(COMPLETE=bash WORDS="$words" "${COMP_WORDS[0]}" 2>/dev/null))
}
complete -o bashdefault -o default -F _certmgr certmgr
"""
# (@f) makes one empty word of an empty output, so the first candidate is tested.
_ZSH = """#compdef certmgr
# Completion of certmgr for zsh: certmgr completion zsh > a folder of $fpath, as _certmgr
_certmgr() {
    local -a candidates
    candidates=("${(@f)$(COMPLETE=zsh WORDS="${(pj:\\n:)words[1,CURRENT]}" "${words[1]}" \\
        2>/dev/null)}")
    if [[ -n "${candidates[1]}" ]]; then
        _describe -V certmgr candidates
    else
        _files
    fi
}
if [[ "${funcstack[1]}" == _certmgr ]]; then _certmgr "$@"; else compdef _certmgr certmgr; fi
"""
# fish splits an output into lines; "string collect" keeps the words in one value.
_FISH = """# Completion of certmgr for fish:
# certmgr completion fish > ~/.config/fish/completions/certmgr.fish
function __certmgr_complete
    set -l words (commandline -opc) (commandline -ct)
    set -lx COMPLETE fish
    set -lx WORDS (string join \\n -- $words | string collect)
    $words[1] 2>/dev/null
end
complete -c certmgr -a '(__certmgr_complete)'
"""
SCRIPTS = {
    shell: script.replace("COMPLETE=", f"{COMPLETE_VARIABLE}=")
    .replace("WORDS=", f"{WORDS_VARIABLE}=")
    .replace("-lx COMPLETE", f"-lx {COMPLETE_VARIABLE}")
    .replace("-lx WORDS", f"-lx {WORDS_VARIABLE}")
    # The names are replaced and not formatted, because shell scripts are full of braces.
    for shell, script in (("bash", _BASH), ("zsh", _ZSH), ("fish", _FISH))
}


@click.command()
@click.argument("shell", type=click.Choice(list(SCRIPTS)))
def completion(shell: str) -> None:
    """Print the completion script of SHELL, with how to install it.

    TAB then completes commands, options, client numbers, domains, cases, servers, tags and finding
    codes of an SQLite inventory. Of a PostgreSQL inventory, only commands and options.

    \b
    bash: eval "$(certmgr completion bash)"     in ~/.bashrc
    zsh:  eval "$(certmgr completion zsh)"      in ~/.zshrc, after compinit
    fish: certmgr completion fish > ~/.config/fish/completions/certmgr.fish
    """
    click.echo(SCRIPTS[shell], nl=False)

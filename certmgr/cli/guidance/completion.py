"""``certmgr completion``: the completion scripts of bash, zsh and fish."""

from __future__ import annotations

import click

from certmgr.cli.guidance.completing import BREAKS_VARIABLE, COMPLETE_VARIABLE, WORDS_VARIABLE

# IFS is a newline, so that a candidate with a space stays one word. The words are passed in the
# environment, because arguments would have to be quoted. If there are no candidates, "-o default"
# completes the names of files.
_BASH = """# Completion of certmgr for bash: eval "$(certmgr completion bash)" in ~/.bashrc
_certmgr() {
    local IFS=$'\\n' program=$1
    [[ $program == '~/'* ]] && program=$HOME/${program#'~/'}
    # Another word for it, such as an alias or a variable, is no program.
    type -P -- "$program" >/dev/null || program=certmgr
    local line=$COMP_LINE
    # COMP_POINT counts bytes in some versions of bash, and characters in others. It matters only
    # if the cursor is not at the end.
    [[ -z ${COMP_LINE:COMP_POINT} ]] || line=${COMP_LINE:0:COMP_POINT}
    # The program quotes the values for this shell. "set -f" keeps * and ? in them from expansion.
    local expands=$-
    set -f
    COMPREPLY=($(COMPLETE=bash BREAKS=$COMP_WORDBREAKS WORDS=$line "$program" 2>/dev/null))
    [[ $expands == *f* ]] || set +f
}
complete -o bashdefault -o default -F _certmgr certmgr
"""
# (@f) makes one empty word of an empty output, so the first candidate is tested.
_ZSH = """#compdef certmgr
# Completion of certmgr for zsh: certmgr completion zsh > a folder of $fpath, as _certmgr
_certmgr() {
    local program=${(Q)words[1]}
    [[ $program == '~'* ]] && program=${~program}
    # Another word for it, such as an alias or a variable, is no program.
    whence -p -- $program >/dev/null || program=certmgr
    local -a typed candidates
    # The line has quotes and backslashes, which the program would not get.
    typed=("${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}")
    candidates=("${(@f)$(COMPLETE=zsh WORDS="${(pj:\\n:)typed}" $program 2>/dev/null)}")
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
    set -l words (commandline -opc)
    # The current word may have quotes, of which one may still be open.
    set -l current (string unescape -- (commandline -ct); or commandline -ct)
    set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
    # Another word for it, such as a variable, is no program.
    type -q -- $program; or set program certmgr
    set -lx COMPLETE fish
    # Without -N the lines would lose their ends, and an empty current word would be lost.
    set -lx WORDS (printf '%s\\n' $words | string collect -N)"$current"
    set -l candidates ($program 2>/dev/null)
    if set -q candidates[1]
        printf '%s\\n' $candidates
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c certmgr -f -a '(__certmgr_complete)'
"""
SCRIPTS = {
    shell: script.replace("COMPLETE=", f"{COMPLETE_VARIABLE}=")
    .replace("WORDS=", f"{WORDS_VARIABLE}=")
    .replace("BREAKS=", f"{BREAKS_VARIABLE}=")
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
    codes of an SQLite inventory, quoted for the shell. Of a PostgreSQL inventory, only commands and
    options.

    \b
    bash: eval "$(certmgr completion bash)"    in ~/.bashrc
    zsh:  eval "$(certmgr completion zsh)"     in ~/.zshrc, after compinit
    fish: certmgr completion fish > ~/.config/fish/completions/certmgr.fish
    """
    click.echo(SCRIPTS[shell], nl=False)

# bash completion for microblog(1): commands, then each command's options and files.

_microblog()
{
    local current=${COMP_WORDS[COMP_CWORD]}
    local words="backup card db doctor harden https mail restore routes setup shell status translate user"
    if [ "$COMP_CWORD" -gt 1 ]; then
        case ${COMP_WORDS[1]} in
            backup) words="--output --json" ;;
            db) words="current downgrade heads history upgrade" ;;
            doctor|status) words="--json" ;;
            harden) words="--check --dry-run --confirm --no-confirm --undo --json" ;;
            https) words="--server --email --off --now" ;;
            mail) words="--domain --relay --user --records --test --force --dry-run --off" ;;
            restore) words="--check --force --json" ;;
            setup) words="--boot --enable" ;;
            translate) words="init update compile" ;;
            *) words="--help" ;;
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words --help" -- "$current")
}
complete -o default -F _microblog microblog

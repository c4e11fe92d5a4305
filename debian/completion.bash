# bash completion for microblog(1): commands, then each command's options and files.
# Made by docs/reference.py.

_microblog()
{
    local current=${COMP_WORDS[COMP_CWORD]}
    local words="agent backup claim db doctor harden https import mail restore routes search setup shell status translate update user"
    local before="${COMP_WORDS[*]:1:COMP_CWORD-1}"
    case $before in
        "") ;;
        backup|"backup "*) words="--output --to --sheet --drill --off --json" ;;
        db|"db "*) words="current history upgrade" ;;
        doctor|"doctor "*) words="--json" ;;
        harden|"harden "*) words="--check --dry-run --confirm --no-confirm --undo --json" ;;
        https|"https "*) words="--server --email --dns --credentials --dns-wait --off --now --own --redirect" ;;
        import|"import "*) words="--replace --dry-run" ;;
        mail|"mail "*) words="--domain --relay --user --records --test --force --dry-run --off" ;;
        restore|"restore "*) words="--from --list --snapshot --check --force --json" ;;
        search) words="reindex" ;;
        setup|"setup "*) words="--boot --enable --dry-run" ;;
        status|"status "*) words="--json --nagios --prometheus" ;;
        translate) words="compile init update" ;;
        update|"update "*) words="--check --dry-run --all --yes --again --wait --finish --automatic --json" ;;
        user) words="add delete demote list password promote second-factor suspend unsuspend" ;;
        "user add"|"user add "*) words="--admin --generate --password-stdin" ;;
        "user delete"|"user delete "*) words="--yes" ;;
        "user list"|"user list "*) words="--json" ;;
        "user password"|"user password "*) words="--generate --password-stdin" ;;
        "user promote"|"user promote "*) words="--moderator" ;;
        "user second-factor"|"user second-factor "*) words="--off" ;;
        *) words="" ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words --help" -- "$current")
}
complete -o default -F _microblog microblog

# Completion of sv(8) for bash.

# Adds the words that begin with what was typed.
_sv_add()
{
    local word
    for word; do
        if [[ $word == "$cur"* ]]; then
            COMPREPLY+=("$word")
        fi
    done
}

# Adds the services in a directory; with `logs` their log services too.
_sv_services()
{
    local path name
    for path in "$1"/*/; do
        path=${path%/}
        name=${path##*/}
        if [[ $name != '*' ]]; then
            _sv_add "$name"
            if [[ $2 == logs && -d $path/log ]]; then
                _sv_add "$name/log"
            fi
        fi
    done
}

_sv()
{
    local cur=${COMP_WORDS[COMP_CWORD]} command= at=1 dir
    COMPREPLY=()
    while ((at < COMP_CWORD)); do
        case ${COMP_WORDS[at]} in
            -*w) ((at += 2)) ;;
            -*) ((at += 1)) ;;
            *) command=${COMP_WORDS[at]}; break ;;
        esac
    done
    if ((at > COMP_CWORD)); then
        return
    fi
    if [[ -z $command ]]; then
        if [[ $cur == -* ]]; then
            _sv_add @OPTIONS@
        else
            _sv_add @COMMANDS@
        fi
        return
    fi
    if [[ $command == log && $cur == -* ]]; then
        _sv_add -f -r
        return
    fi
    if [[ $cur == [./]* ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -d -- "$cur")
        return
    fi
    local kind=logs
    case $command in
        @NONE@) return ;;
        @SERVICES@) kind=services ;;
        @ALL@) kind=all ;;
    esac
    for dir in "${SVDIR:-@DIR@}" /service /var/service; do
        if [[ -d $dir || -n $SVDIR ]]; then
            _sv_services "$dir" "$kind"
            break
        fi
    done
    dir=${RUNT_SERVICES_OVERLAY-@OVERLAY@}
    if [[ -n $dir ]]; then
        _sv_services "$dir" "$kind"
    fi
    if [[ $kind == all ]]; then
        _sv_services /etc/sv "$kind"
    fi
}

complete -F _sv sv

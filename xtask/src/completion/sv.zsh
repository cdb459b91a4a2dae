#compdef sv
# Completion of sv(8) for zsh.

local context state line dir path name kind=logs
local -a commands names
local -A opt_args

commands=(
@DESCRIBED@
)

_arguments -A '-*' -s -S \
@ARGUMENTS@
    '1:command:->command' '*:service:->service' && return

if [[ $state == command ]]; then
    _describe -t commands command commands
    return
fi
if [[ $state != service ]]; then
    return 1
fi
if [[ $line[1] == log && $PREFIX == -* ]]; then
    compadd -- -f -r
    return
fi
if [[ $PREFIX == [./]* ]]; then
    _files -/
    return
fi
case $line[1] in
    @NONE@) return 1 ;;
    @SERVICES@) kind=services ;;
    @ALL@) kind=all ;;
esac
for dir in ${SVDIR:-@DIR@} /service /var/service; do
    if [[ -d $dir || -n $SVDIR ]]; then
        names+=($dir/*(N-/))
        break
    fi
done
dir=${RUNT_SERVICES_OVERLAY-@OVERLAY@}
if [[ -n $dir ]]; then
    names+=($dir/*(N-/))
fi
if [[ $kind == all ]]; then
    names+=(/etc/sv/*(N-/))
fi
if [[ $kind == logs ]]; then
    for name in $names; do
        if [[ -d $name/log ]]; then
            compadd -- ${name:t}/log
        fi
    done
fi
compadd -- ${names:t}

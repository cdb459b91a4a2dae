# Completion of sv(8) for fish.

# Prints the command that was typed; fails if there is none.
function __fish_sv_command
    set -l words (commandline -opc)
    set -e words[1]
    while set -q words[1]
        switch $words[1]
            case '-*w'
                set -e words[1]
            case '-*'
            case '*'
                echo $words[1]
                return 0
        end
        set -e words[1]
    end
    return 1
end

# Prints the services that the command may have as operands.
function __fish_sv_services
    set -l command (__fish_sv_command)
    set -l kind logs
    if contains -- $command @NONE_WORDS@
        return
    else if contains -- $command @SERVICES_WORDS@
        set kind services
    else if contains -- $command @ALL_WORDS@
        set kind all
    end
    set -l dirs
    if test -n "$SVDIR"
        set dirs $SVDIR
    else
        for dir in @DIR@ /service /var/service
            if test -d $dir
                set dirs $dir
                break
            end
        end
    end
    if set -q RUNT_SERVICES_OVERLAY
        set -a dirs $RUNT_SERVICES_OVERLAY
    else
        set -a dirs @OVERLAY_WORDS@
    end
    if test $kind = all
        set -a dirs /etc/sv
    end
    for dir in $dirs
        for path in $dir/*/
            set -l name (string split -m1 -r / -- (string trim -r -c / -- $path))[2]
            echo $name
            if test $kind = logs -a -d $path/log
                echo $name/log
            end
        end
    end
end

complete -c sv -f
@OPTIONS_FISH@
@COMMANDS_FISH@
complete -c sv -n 'test (__fish_sv_command; or echo) = log' -s f -d 'show further lines'
complete -c sv -n 'test (__fish_sv_command; or echo) = log' -s r -d 'change nothing in the lines'
complete -c sv -n __fish_sv_command -a '(__fish_sv_services)'

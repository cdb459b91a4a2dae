# What the script of a row has at hand. Its directory is a fresh one; the
# services directory is that directory itself.

umask 022
EVENTS=$PWD/events
SVDIR=$PWD
export EVENTS SVDIR
unset SVWAIT
: > events

# await COMMAND...: waits until the command succeeds, at most some 20 s.
await() {
    local tries=0
    until "$@"; do
        tries=$((tries + 1))
        if [ $tries -gt 700 ]; then
            echo "never came: $*"
            exit 99
        fi
        sleep 0.03
    done
}

# is DIR STAT: whether supervise/stat of a service is this, and status too,
# which is written after it.
is() {
    local line= bytes=
    { read -r line < "$1/supervise/stat"; } 2> /dev/null
    [ "$line" = "$2" ] || return 1
    case $2 in *paused*) bytes=01 ;; *) bytes=00 ;; esac
    case $2 in
    *want*) bytes="$bytes 64" ;;
    down*) bytes="$bytes ??" ;;
    *) bytes="$bytes 75" ;;
    esac
    case $2 in *TERM*) bytes="$bytes 01" ;; *) bytes="$bytes 00" ;; esac
    case $2 in
    down*) bytes="$bytes 00" ;;
    run*) bytes="$bytes 01" ;;
    finish*) bytes="$bytes 02" ;;
    esac
    case $(od -An -tx1 -j16 "$1/supervise/status" 2> /dev/null) in
    " "$bytes) return 0 ;;
    *) return 1 ;;
    esac
}

# stops DIR: whether a service that was told to pause has stopped. Who gets no
# processor before the next signal takes those of lower numbers first.
stops() {
    grep -qs '^State:.T' "/proc/$(cat "$1/supervise/pid")/status"
}

# has TEXT [COUNT]: whether this event came, so many times.
has() {
    local line count=0
    while read -r line; do
        [ "$line" != "$1" ] || count=$((count + 1))
    done < events
    [ $count -ge ${2-1} ]
}

# pid DIR: prints the number of the service's process.
pid() {
    cat "$1/supervise/pid"
}

# other DIR PID: whether the service has a process, and another one.
other() {
    local now=
    { read -r now < "$1/supervise/pid"; } 2> /dev/null
    [ "$now" ] && [ "$now" != "$2" ] && is "$1" run
}

# gone PID: whether there is no such process.
gone() {
    ! kill -0 "$1" 2> /dev/null
}

# says FILE TEXT: whether one of the file's lines is this.
says() {
    grep -qxF -- "$2" "$1" 2> /dev/null
}

# not COMMAND...
not() {
    ! "$@"
}

# For scripts of services, `eval "$PUBLISHED"`: waits until status names this
# process, so that an event told after it means that the files are written.
PUBLISHED='until [ $(od -An -td4 -j12 -N4 supervise/status) -eq $$ ]; do
    sleep 0.02
done'
export PUBLISHED

# script FILE TEXT: a shell script that can be run.
script() {
    mkdir -p "${1%/*}"
    printf '#!/bin/sh\n%s\n' "$2" > "$1"
    chmod 755 "$1"
}

# service DIR [TEXT]: a service; by default one that sleeps.
service() {
    script "$1/run" "${2-exec sleep 1000}"
}

# teller DIR [SIGNAL...]: a service that tells these signals as events and
# lives on; TERM it tells, the first one, and ends. Once it can, it tells `DIR up`.
teller() {
    local dir=$1 text='sleep 1000 > /dev/null 2>&1 & slept=$!' signal
    shift
    for signal; do
        text="$text
trap 'echo $dir $signal >> \$EVENTS' $signal"
    done
    service "$dir" "$text
trap 'trap \"\" TERM; echo $dir TERM >> \$EVENTS; kill \$slept; exit 0' TERM
eval \"\$PUBLISHED\"
echo $dir up >> \$EVENTS
while :; do wait; done"
}

# stubborn DIR: a service that tells `DIR up` and ignores TERM.
stubborn() {
    service "$1" "trap '' TERM; eval \"\$PUBLISHED\"; echo $1 up >> \$EVENTS; exec sleep 1000"
}

# finishing DIR: a service whose finish tells `DIR finish` and stays.
finishing() {
    service "$1"
    script "$1/finish" "eval \"\$PUBLISHED\"; echo $1 finish >> \$EVENTS; exec sleep 1000"
}

# runsv_ ARGUMENT...: runsv, behind `&` too with the signals that a shell then
# has its children ignore.
runsv_() {
    exec env --default-signal=INT,QUIT runsv "$@"
}

# taken DIR: waits until a supervisor has opened everything there.
taken() {
    await test -p "$1/supervise/ok"
    : > "$1/supervise/ok"
}

# supervise DIR...: runsv for each; when it returns its services, its log
# services too, are up, or down if they have a file `down`.
supervise() {
    local dir each state
    for dir; do
        runsv_ "$dir" &
        for each in "$dir" "$dir/log"; do
            [ -d "$each" ] || continue
            state=run
            [ ! -e "$each/down" ] || state=down
            await is "$each" $state
            taken "$each"
        done
    done
}

# send DIR BYTES: writes to the control FIFO.
send() {
    printf "$2" > "$1/supervise/control"
}

# code COMMAND...: runs it and prints its exit code.
code() {
    "$@"
    echo "= $?"
}

# shows_not SECOND: whether the clock shows another second.
shows_not() {
    [ "$(date +%s)" != "$1" ]
}

# next_second: waits until the clock shows the next one. Debian's sv takes
# a process of the same second for the restarted one.
next_second() {
    await shows_not "$(date +%s)"
}

# awaits_term PID: whether a process handles or blocks TERM, signal 15.
awaits_term() {
    while read -r key mask; do
        case $key in
        SigBlk: | SigCgt:)
            low=${mask#????????????}
            [ $((0x$low & 0x4000)) = 0 ] || return 0
            ;;
        esac
    done <"/proc/$1/status"
    return 1
}

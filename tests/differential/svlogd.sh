# What the rows about svlogd have at hand beside helpers.sh.

# keep DIR CONFIG: a log directory and its config, with printf's escapes.
keep() {
    mkdir -p "$1"
    printf '%b' "$2" > "$1/config"
}

# masked: labels and dates are the same in every play.
masked() {
    sed -E 's/@[0-9a-f]{24}/@L/g
s/[0-9]{4}(-[0-9]{2}){2}([_T])[0-9]{2}(:[0-9]{2}){2}\.[0-9]{5}/DATE\2TIME/g'
}

# log INPUT ARGUMENT...: svlogd on an input, with printf's escapes, to its
# end; prints the exit code and what it said.
log() {
    local input=$1
    shift
    printf '%b' "$input" | svlogd "$@" 2> said
    echo "= $?"
    masked < said
}

# logs [DIR]: every log file with its mode and what is in it.
logs() {
    local dir=${1-log} file
    for file in "$dir"/@* "$dir"/current "$dir"/state "$dir"/newstate; do
        [ -f "$file" ] || continue
        stat -c '%n %a' "$file"
        cat -v "$file"
    done | masked
}

# logger INPUT ARGUMENT...: starts svlogd with a FIFO as its input, which
# stays open for `more`, and gives it the input.
logger() {
    local input=$1
    shift
    mkfifo fifo
    svlogd "$@" < fifo 2> said &
    logger=$!
    exec 9> fifo
    more "$input"
}

# more INPUT: gives the logger more.
more() {
    printf '%b' "$1" >&9
}

# ended: closes the logger's input and waits; prints its exit code and words.
ended() {
    exec 9>&-
    wait $logger
    echo "= $?"
    masked < said
}

# holds FILE TEXT: whether the file is this text, with printf's escapes.
holds() {
    [ "$(cat "$1" 2> /dev/null; echo .)" = "$(printf '%b' "$2"; echo .)" ]
}

# counts COUNT PATTERN: whether so many files have such names.
counts() {
    local count=$1
    shift
    set -- $*
    [ -e "$1" ] || set --
    [ $# = "$count" ]
}

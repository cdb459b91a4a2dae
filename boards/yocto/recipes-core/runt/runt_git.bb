require runt.inc

# The first version of Rust that builds it; release 5.3 and later have it.
RUNT_RUST = "1.88"

PV = "0.1.0+git"

# By default the commit that is checked out in the repository with this layer.
SRC_URI:prepend = "git://${RUNT_REPOSITORY};protocol=file;nobranch=1;destsuffix=${BP} "
SRCREV ??= "${@runt_head(d)}"
# nooelint: oelint.vars.mispell.unknown
BB_DONT_CACHE = "1"

inherit cargo

# The profile `board` rather than `release`: releases have different variables
# for it.
# nooelint: oelint.vars.mispell.unknown
CARGO_PROFILE = "board"
BUILD_MODE = "--profile board"
BUILD_DIR = "board"
CARGO_BUILD_FLAGS += "--package runt-init --bin runt --features freestanding"

# The earliest date that the clock can have.
export RUNT_BUILT = "${SOURCE_DATE_EPOCH}"

# The values of a board, with a later date: the output of
# cargo xtask env --board BOARD --format bitbake
# nooelint: oelint.file.requireinclude,oelint.file.includenotfound
include conf/runt-values.inc

def runt_head(d):
    import subprocess
    return subprocess.check_output(
        ["git", "-C", d.getVar("RUNT_REPOSITORY"), "rev-parse", "HEAD"], text=True).strip()

# Skips the recipe where Rust is too old. Adds the crates of Cargo.lock.
# nooelint: oelint.task.noanonpython
python () {
    import re

    def numbers(version):
        return [int(part) for part in re.findall(r"\d+", version)]

    needed, present = d.getVar("RUNT_RUST"), d.getVar("RUSTVERSION") or ""
    if numbers(present) < numbers(needed):
        raise bb.parse.SkipRecipe(
            "it needs Rust %s, and this release has %s: use runt-bin, or a layer with a newer Rust"
            % (needed, present.rstrip("%")))

    lock = os.path.join(d.getVar("RUNT_REPOSITORY"), "Cargo.lock")
    bb.parse.mark_dependency(d, lock)
    with open(lock) as file:
        packages = file.read().split("[[package]]")[1:]
    for package in packages:
        field = dict(re.findall(r'^(name|version|checksum) = "(.*)"$', package, re.M))
        # Without a checksum it is a member of the workspace.
        if "checksum" in field:
            crate = (field["name"], field["version"])
            d.appendVar("SRC_URI", " crate://crates.io/%s/%s" % crate)
            d.setVarFlag("SRC_URI", "%s-%s.sha256sum" % crate, field["checksum"])
}

# Prints the programs of the families that the values of the board name.
runt_programs[doc] = "Prints the names of the programs that are built in"
runt_programs() {
    grep '^[a-z]' ${S}/src/applets.txt | while read -r name family function; do
        case " ${RUNT_PROGRAMS:-$family} " in
        *" $family "*) echo $name ;;
        esac
    done
}

do_install() {
    runt_install ${B}/target/${CARGO_TARGET_SUBDIR}/runt $(runt_programs)
}

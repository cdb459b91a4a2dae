require runt.inc

SUMMARY += "(prebuilt)"
PV = "0.1.0"

# The directory DIR of: cargo xtask build --board BOARD --out DIR
RUNT_PREBUILT ??= "${TOPDIR}/runt"

# nooelint: oelint.vars.fileextrapaths,oelint.vars.fileextrapathsop,oelint.vars.outofcontext
FILESEXTRAPATHS:prepend = "${RUNT_PREBUILT}:${RUNT_REPOSITORY}:"
SRC_URI += "\
    file://LICENSE;subdir=${BP} \
    file://runt;subdir=${BP} \
"

# Skips the recipe without the file. The programs are the links beside it.
# nooelint: oelint.task.noanonpython
python () {
    file = os.path.join(d.getVar("RUNT_PREBUILT"), "runt")
    bb.parse.mark_dependency(d, file)
    if not os.path.exists(file):
        raise bb.parse.SkipRecipe(
            "there is no file %s: run `cargo xtask build --board BOARD --out DIR` and set RUNT_PREBUILT"
            % file)
    with os.scandir(d.getVar("RUNT_PREBUILT")) as entries:
        links = sorted(entry.name for entry in entries if entry.is_symlink())
    d.setVar("RUNT_LINKS", " ".join(links))
    if os.path.isdir(os.path.join(d.getVar("RUNT_PREBUILT"), "share")):
        d.appendVar("SRC_URI", " file://share;subdir=${BP}")
}

# INIT_MANAGER = "runt" asks for the package runt.
RPROVIDES:${PN} += "runt"
RCONFLICTS:${PN} += "runt"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    runt_install ${S}/runt ${RUNT_LINKS}
    # The manuals, for the package runt-bin-doc.
    if [ -d ${S}/share/man ]; then
        install -d ${D}${mandir}
        cp -R --no-preserve=ownership ${S}/share/man/. ${D}${mandir}
    fi
}

FILESEXTRAPATHS:prepend := "${THISDIR}/files:"

inherit_defer ${@bb.utils.contains("DISTRO_FEATURES", "runt", "runt_service", "", d)}

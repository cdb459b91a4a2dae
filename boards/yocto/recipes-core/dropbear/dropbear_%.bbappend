FILESEXTRAPATHS:prepend := "${THISDIR}/files:"

inherit runt_service

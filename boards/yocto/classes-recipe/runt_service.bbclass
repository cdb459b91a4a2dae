# Installs service directories. Recipes inherit it if DISTRO_FEATURES contains
# runt.
#
# RUNT_SERVICES names them; by default there is one, called like the recipe.
# The file NAME.run of SRC_URI becomes /etc/sv/NAME/run, NAME.finish becomes
# /etc/sv/NAME/finish, and a link in /etc/service enables the service.
# RUNT_SERVICES_DISABLED names those that are installed without the link.

RUNT_SERVICES ?= "${BPN}"
RUNT_SERVICES_DISABLED ?= ""

SRC_URI += "${@' '.join('file://%s.run' % name for name in d.getVar('RUNT_SERVICES').split())}"
FILES:${PN} += "${sysconfdir}/sv ${sysconfdir}/service"

# Scarthgap unpacks files into WORKDIR, later releases into UNPACKDIR.
RUNT_SERVICE_FILES = "${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}"

runt_service_install[doc] = "Installs the service directories of RUNT_SERVICES"
runt_service_install() {
    install -d ${D}${sysconfdir}/service
    for name in ${RUNT_SERVICES}; do
        install -D -m 0755 ${RUNT_SERVICE_FILES}/$name.run ${D}${sysconfdir}/sv/$name/run
        if [ -e ${RUNT_SERVICE_FILES}/$name.finish ]; then
            install -m 0755 ${RUNT_SERVICE_FILES}/$name.finish ${D}${sysconfdir}/sv/$name/finish
        fi
        case " ${RUNT_SERVICES_DISABLED} " in
        *" $name "*) ;;
        *) ln -sfn ../sv/$name ${D}${sysconfdir}/service/$name ;;
        esac
    done
}
do_install[postfuncs] += "runt_service_install"

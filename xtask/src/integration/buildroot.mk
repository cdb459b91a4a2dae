# Stands in for Buildroot, so that the packages of the external tree can be
# installed without it: `make -f FILE EXTERNAL=DIR OUT=DIR install`.

BR2_EXTERNAL_RUNT_PATH = $(EXTERNAL)
TARGET_DIR = $(OUT)/target
INSTALL = install
SED = sed -i -e
qstrip = $(strip $(subst ",,$(1)))
empty =
space = $(empty) $(empty)
define sep


endef
SYSTEM_GETTY_PORT = ttyS0
SYSTEM_GETTY_BAUDRATE = 115200
SYSTEM_GETTY_TERM = vt100
SYSTEM_GETTY_OPTIONS = -n
RUSTC_TARGET_NAME = target
RUST_BIN_VERSION = 1.88.0

# The infrastructure of packages is what Buildroot itself checks.
generic-package =
cargo-package =

RUNT_PKGDIR = $(EXTERNAL)/package/runt
SKELETON_INIT_RUNT_PKGDIR = $(EXTERNAL)/package/skeleton-init-runt

include $(EXTERNAL)/external.mk

# Each hook is the name of a variable with commands. In these, $(@D) is the
# build directory of the package.
$(OUT)/build/skeleton:
	$(if $(BR2_PACKAGE_SKELETON_INIT_RUNT),$(SKELETON_INIT_RUNT_INSTALL_TARGET_CMDS))

$(OUT)/build/install: $(OUT)/build/skeleton
	$(foreach hook,$(RUNT_PRE_INSTALL_TARGET_HOOKS),$($(hook))$(sep))
	$(RUNT_INSTALL_TARGET_CMDS)

$(OUT)/build/finalize: $(OUT)/build/install
	$(foreach hook,$(RUNT_TARGET_FINALIZE_HOOKS),$($(hook))$(sep))

$(OUT)/build/check: $(OUT)/build/finalize
	$(foreach hook,$(RUNT_ROOTFS_PRE_CMD_HOOKS),$($(hook))$(sep))

install: $(OUT)/build/check

build-commands:
	@printf '%s\n' '$(strip $(RUNT_BUILD_CMDS))'

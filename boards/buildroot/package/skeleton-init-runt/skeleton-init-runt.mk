################################################################################
#
# skeleton-init-runt
#
################################################################################

# Every package depends on the skeleton, the toolchain included.
SKELETON_INIT_RUNT_ADD_TOOLCHAIN_DEPENDENCY = NO
SKELETON_INIT_RUNT_ADD_SKELETON_DEPENDENCY = NO

SKELETON_INIT_RUNT_DEPENDENCIES = skeleton-init-common

SKELETON_INIT_RUNT_PROVIDES = skeleton

# Stage 1 remounts the root with the options of its line in fstab.
ifeq ($(BR2_TARGET_GENERIC_REMOUNT_ROOTFS_RW),y)
SKELETON_INIT_RUNT_FSTAB = fstab
else
SKELETON_INIT_RUNT_FSTAB = fstab.read-only
endif

# Packages must find these links before they install files behind them.
define SKELETON_INIT_RUNT_INSTALL_TARGET_CMDS
	$(INSTALL) -d -m 0755 $(addprefix $(TARGET_DIR)/, \
		home srv var/cache var/lib var/log var/spool)
	ln -sfn ../run $(TARGET_DIR)/var/run
	ln -sfn ../run/lock $(TARGET_DIR)/var/lock
	ln -sfn ../tmp $(TARGET_DIR)/var/tmp
	$(INSTALL) -D -m 0644 \
		$(SKELETON_INIT_RUNT_PKGDIR)/$(SKELETON_INIT_RUNT_FSTAB) \
		$(TARGET_DIR)/etc/fstab
endef

$(eval $(generic-package))

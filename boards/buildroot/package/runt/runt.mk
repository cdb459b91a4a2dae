################################################################################
#
# runt
#
################################################################################

RUNT_LICENSE = MIT or Apache-2.0

# Busybox has programs of the same names: the later installation wins.
RUNT_DEPENDENCIES = $(if $(BR2_PACKAGE_BUSYBOX),busybox)

# The links that only PID 1 needs.
RUNT_INIT_PROGRAMS = init runit runit-init halt poweroff reboot

# Installs the programs that a list on standard input names.
define RUNT_INSTALL_LINKS
	while read -r program; do \
		case " $(if $(BR2_PACKAGE_RUNT_INIT),,$(RUNT_INIT_PROGRAMS)) " in \
		*" $$program "*) continue ;; \
		esac; \
		ln -sf runt $(TARGET_DIR)/sbin/$$program || exit 1; \
	done
endef

ifeq ($(BR2_PACKAGE_RUNT_INIT),y)

# In an initramfs the kernel starts /init. Without this link Buildroot installs
# a shell script that mounts /dev, which runt does itself.
define RUNT_INSTALL_INIT
	ln -sfn sbin/init $(TARGET_DIR)/init
	$(INSTALL) -d -m 0755 $(TARGET_DIR)/etc/service
	$(INSTALL) -D -m 0755 $(RUNT_PKGDIR)/once/run-lock \
		$(TARGET_DIR)/etc/runit/once/run-lock
endef

# $(1): the service. Links are relative, so that the root can be inspected on
# the build machine.
define RUNT_INSTALL_SERVICE
	mkdir -p $(TARGET_DIR)/etc/sv
	cp -R $(RUNT_PKGDIR)/sv/$(1) $(TARGET_DIR)/etc/sv/
	chmod -R u=rwX,go=rX $(TARGET_DIR)/etc/sv/$(1)
	find $(TARGET_DIR)/etc/sv/$(1) -name run -o -name finish | xargs chmod 0755
	ln -sfn ../sv/$(1) $(TARGET_DIR)/etc/service/$(1)

endef

ifeq ($(BR2_PACKAGE_SKELETON_INIT_NONE),y)
# The skeleton of "Custom (none)" has no /var and no fstab.
RUNT_DEPENDENCIES += skeleton-init-none
RUNT_PRE_INSTALL_TARGET_HOOKS += SKELETON_INIT_RUNT_INSTALL_TARGET_CMDS
endif

ifeq ($(BR2_TARGET_GENERIC_GETTY),y)
define RUNT_INSTALL_GETTY
	$(call RUNT_INSTALL_SERVICE,getty)
	$(SED) 's~@PORT@~$(SYSTEM_GETTY_PORT)~' \
		-e 's~@BAUD@~$(SYSTEM_GETTY_BAUDRATE)~' \
		-e 's~@TERM@~$(SYSTEM_GETTY_TERM)~' \
		-e 's~@OPTIONS@ *~$(addsuffix $(space),$(SYSTEM_GETTY_OPTIONS))~' \
		$(TARGET_DIR)/etc/sv/getty/run
endef
RUNT_TARGET_FINALIZE_HOOKS += RUNT_INSTALL_GETTY
endif

ifeq ($(BR2_PACKAGE_RUNT_INITD),y)
# pkg-generic.mk reads this when it installs a package, by when every makefile
# has been read: packages install their S?? scripts, and nothing else changes.
# check-package disable TypoInPackageVariable
BR2_INIT_SYSV = y
define RUNT_INSTALL_INITD
	$(call RUNT_INSTALL_SERVICE,initd)
endef
RUNT_TARGET_FINALIZE_HOOKS += RUNT_INSTALL_INITD
endif

ifeq ($(BR2_PACKAGE_RUNT_SERVICES),y)
RUNT_SERVICES_$(BR2_PACKAGE_CHRONY) += chrony
RUNT_SERVICES_$(BR2_PACKAGE_DNSMASQ) += dnsmasq
RUNT_SERVICES_$(BR2_PACKAGE_DROPBEAR) += dropbear
RUNT_SERVICES_$(BR2_PACKAGE_HOSTAPD) += hostapd
RUNT_SERVICES_$(BR2_PACKAGE_LIGHTTPD) += lighttpd
RUNT_SERVICES_$(BR2_PACKAGE_NTP_NTPD) += ntpd

# The scripts that these services replace.
RUNT_REPLACED = S49chronyd S80dnsmasq S50dropbear S50lighttpd S49ntp S49ntpd

define RUNT_INSTALL_SERVICES
	$(foreach service,$(RUNT_SERVICES_y),$(call RUNT_INSTALL_SERVICE,$(service)))
	rm -f $(addprefix $(TARGET_DIR)/etc/init.d/,$(RUNT_REPLACED))
endef
RUNT_TARGET_FINALIZE_HOOKS += RUNT_INSTALL_SERVICES
endif

# The last look at each root, after overlays and post-build scripts.
define RUNT_CHECK_ROOT
	$(RUNT_PKGDIR)/check-root $(TARGET_DIR)
endef
RUNT_ROOTFS_PRE_CMD_HOOKS += RUNT_CHECK_ROOT

endif # BR2_PACKAGE_RUNT_INIT

ifeq ($(BR2_PACKAGE_RUNT_SOURCE),y)

RUNT_VERSION = $(call qstrip,$(BR2_PACKAGE_RUNT_REVISION))
ifeq ($(RUNT_VERSION),)
RUNT_VERSION := $(shell git -C $(BR2_EXTERNAL_RUNT_PATH) rev-parse HEAD)
endif
RUNT_SITE = $(call qstrip,$(BR2_PACKAGE_RUNT_REPOSITORY))
RUNT_SITE_METHOD = git
RUNT_LICENSE_FILES = LICENSE
# The archive of a commit that only this repository has.
BR_NO_CHECK_HASH_FOR += $(RUNT_SOURCE)

RUNT_VALUES = $(call qstrip,$(BR2_PACKAGE_RUNT_VALUES))

ifeq ($(BR2_PACKAGE_RUNT)$(BR_BUILDING),yy)
ifeq ($(shell printf '%s\n' 1.88 $(RUST_BIN_VERSION) | sort -V | head -n 1),1.88)
else
$(error runt needs Rust 1.88, and Buildroot $(BR2_VERSION) has $(RUST_BIN_VERSION): choose BR2_PACKAGE_RUNT_PREBUILT)
endif
endif

# RUNT_BUILT is the earliest date that the clock can have; the values of a board
# have a later one.
#
# The infrastructure's own command passes --release, whose settings Buildroot
# replaces; the profile `board` has no settings that it knows.
define RUNT_BUILD_CMDS
	cd $(@D) && \
	export RUNT_BUILT=$(BR2_VERSION_EPOCH) && \
	$(if $(RUNT_VALUES),. $(RUNT_VALUES) &&) \
	$(TARGET_MAKE_ENV) $(TARGET_CONFIGURE_OPTS) $(PKG_CARGO_ENV) \
		cargo build --offline --locked --profile board \
			--package runt-init --bin runt --features freestanding
endef

define RUNT_INSTALL_TARGET_CMDS
	$(INSTALL) -D -m 0755 $(@D)/target/$(RUSTC_TARGET_NAME)/board/runt \
		$(TARGET_DIR)/sbin/runt
	$(if $(RUNT_VALUES),. $(RUNT_VALUES) &&) \
	grep '^[a-z]' $(@D)/src/applets.txt | \
	while read -r program family function; do \
		case " $${RUNT_PROGRAMS:-$$family} " in \
		*" $$family "*) echo "$$program" ;; \
		esac; \
	done | $(RUNT_INSTALL_LINKS)
	$(RUNT_INSTALL_INIT)
endef

$(eval $(cargo-package))

else

RUNT_VERSION = prebuilt
# Buildroot wants a directory even if the package is not selected.
RUNT_SITE = $(or $(call qstrip,$(BR2_PACKAGE_RUNT_PREBUILT_DIR)),$(RUNT_PKGDIR))
RUNT_SITE_METHOD = local

ifeq ($(BR2_PACKAGE_RUNT)$(BR_BUILDING),yy)
ifeq ($(wildcard $(RUNT_SITE)/runt),)
$(error BR2_PACKAGE_RUNT_PREBUILT_DIR: there is no file "$(RUNT_SITE)/runt". Run: cargo xtask build --board BOARD --out DIR)
endif
endif

define RUNT_INSTALL_TARGET_CMDS
	$(INSTALL) -D -m 0755 $(@D)/runt $(TARGET_DIR)/sbin/runt
	find $(@D) -maxdepth 1 -type l -lname runt | sed 's,.*/,,' | \
		$(RUNT_INSTALL_LINKS)
	$(RUNT_INSTALL_INIT)
endef

$(eval $(generic-package))

endif

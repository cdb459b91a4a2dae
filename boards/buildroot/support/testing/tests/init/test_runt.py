import os

import infra.basetest
from tests.init.base import InitSystemBase


class InitSystemRuntBase(InitSystemBase):
    """Roots that boot with runt.

    RUNT_EXTERNAL names the external tree. With RUNT_PREBUILT, the directory
    that `cargo xtask build --board qemu-armv7 --out DIR` has made, no Rust
    compiler is needed.
    """

    br2_external = [os.environ.get("RUNT_EXTERNAL", "")]
    config = infra.basetest.BASIC_TOOLCHAIN_CONFIG.replace("ARMV5_EABI_", "ARMV7_EABIHF_") + \
        """
        BR2_cortex_a9=y
        BR2_ARM_ENABLE_VFP=y
        BR2_INIT_RUNT=y
        BR2_PACKAGE_DROPBEAR=y
        # BR2_TARGET_ROOTFS_TAR is not set
        """
    if "RUNT_PREBUILT" in os.environ:
        config += \
            """
            BR2_PACKAGE_RUNT_PREBUILT=y
            BR2_PACKAGE_RUNT_PREBUILT_DIR="{}"
            """.format(os.environ["RUNT_PREBUILT"])

    def check_services(self):
        self.check_init("/sbin/runt")
        for service in ("dropbear", "getty", "initd"):
            self.assertRunOk("sv -w 30 check {}".format(service))
        # The start scripts of packages have run.
        self.assertRunOk("test -e /run/syslogd.pid")
        # A killed service is started again.
        self.assertRunOk("kill -9 $(pidof -s dropbear)")
        self.assertRunOk("sv -w 30 start dropbear")

    def check_power_off(self):
        self.emulator.qemu.sendline("poweroff")
        self.emulator.qemu.expect("runit: power off")


class TestInitSystemRuntRo(InitSystemRuntBase):
    config = InitSystemRuntBase.config + \
        """
        # BR2_TARGET_GENERIC_REMOUNT_ROOTFS_RW is not set
        BR2_TARGET_ROOTFS_SQUASHFS=y
        """

    def test_run(self):
        self.start_emulator("squashfs")
        self.check_services()
        _, exit_code = self.emulator.run("touch /etc/written")
        self.assertNotEqual(exit_code, 0)
        self.check_power_off()


class TestInitSystemRuntRw(InitSystemRuntBase):
    config = InitSystemRuntBase.config + \
        """
        BR2_SYSTEM_DHCP="eth0"
        BR2_TARGET_ROOTFS_EXT2=y
        """

    def test_run(self):
        self.start_emulator("ext2")
        self.check_services()
        self.assertRunOk("touch /etc/written")
        self.check_network("eth0")
        self.check_power_off()

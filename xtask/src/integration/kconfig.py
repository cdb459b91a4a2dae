"""Loads the Kconfig files of the external tree in a model of Buildroot's
menus, and checks what each choice of an init system leads to.

Arguments: the external tree. Prints how many cases were checked.
"""
import os
import sys
import tempfile

import kconfiglib

MODEL = """
mainmenu "model"
%s
config BR2_PACKAGE_PROVIDES_SKELETON
	string
choice
	prompt "Init system"
config BR2_INIT_BUSYBOX
	bool "BusyBox"
config BR2_INIT_NONE
	bool "Custom (none)"
source "$BR2_EXTERNAL_RUNT_PATH/provides/init.in"
endchoice
source "$BR2_EXTERNAL_RUNT_PATH/Config.in"
"""

SWITCHES = """
BR2_aarch64 BR2_x86_64 BR2_RISCV_64 BR2_ARM_CPU_ARMV6 BR2_ARM_CPU_ARMV7A
BR2_arm BR2_ARM_CPU_ARMV8A BR2_mipsel BR2_USE_MMU BR2_PACKAGE_BUSYBOX
BR2_PACKAGE_HOST_RUSTC_TARGET_ARCH_SUPPORTS BR2_ROOTFS_SKELETON_DEFAULT
BR2_PACKAGE_HAS_SKELETON BR2_PACKAGE_SKELETON_INIT_COMMON
BR2_PACKAGE_INITSCRIPTS
""".split()

USUAL = "BR2_USE_MMU BR2_PACKAGE_BUSYBOX BR2_ROOTFS_SKELETON_DEFAULT "

# What is switched on, and what that must switch on and leave off.
CASES = [
    (USUAL + "BR2_arm BR2_ARM_CPU_ARMV7A BR2_INIT_RUNT",
     "RUNT RUNT_INIT RUNT_SERVICES RUNT_INITD INITSCRIPTS RUNT_PREBUILT SKELETON_INIT_RUNT HAS_SKELETON",
     "RUNT_SOURCE"),
    (USUAL + "BR2_RISCV_64 BR2_PACKAGE_HOST_RUSTC_TARGET_ARCH_SUPPORTS BR2_INIT_RUNT",
     "RUNT RUNT_INIT RUNT_SOURCE", "RUNT_PREBUILT"),
    (USUAL + "BR2_mipsel BR2_INIT_RUNT", "RUNT_PREBUILT", "RUNT_SOURCE"),
    (USUAL + "BR2_arm BR2_INIT_RUNT", "", "RUNT RUNT_INIT SKELETON_INIT_RUNT"),
    ("BR2_PACKAGE_BUSYBOX BR2_aarch64 BR2_INIT_RUNT", "", "RUNT"),
    ("BR2_USE_MMU BR2_aarch64 BR2_INIT_RUNT", "RUNT_INIT", "RUNT_INITD SKELETON_INIT_RUNT"),
    (USUAL + "BR2_x86_64 BR2_INIT_NONE BR2_PACKAGE_RUNT", "RUNT", "RUNT_INIT SKELETON_INIT_RUNT"),
    (USUAL + "BR2_x86_64 BR2_INIT_NONE BR2_PACKAGE_RUNT BR2_PACKAGE_RUNT_INIT",
     "RUNT_INIT RUNT_INITD", "SKELETON_INIT_RUNT"),
    (USUAL + "BR2_x86_64 BR2_INIT_BUSYBOX BR2_PACKAGE_RUNT", "RUNT", "RUNT_INIT RUNT_SERVICES"),
]

os.environ["BR2_EXTERNAL_RUNT_PATH"] = os.path.abspath(sys.argv[1])
switches = "\n".join('config %s\n\tbool "%s"' % (name, name) for name in SWITCHES)
with tempfile.NamedTemporaryFile("w", suffix=".in") as model:
    model.write(MODEL % switches)
    model.flush()
    faults = []
    for on, wanted, unwanted in CASES:
        menu = kconfiglib.Kconfig(model.name, warn_to_stderr=False)
        # Twice: a symbol can be set once those that it depends on are.
        for name in on.split() * 2:
            menu.syms[name].set_value(2)
        faults += menu.warnings
        for words, value in (wanted, "y"), (unwanted, "n"):
            for word in words.split():
                symbol = menu.syms["BR2_PACKAGE_" + word]
                if symbol.str_value != value:
                    faults.append("%s: %s is %s" % (on, symbol.name, symbol.str_value))
if faults:
    sys.exit("\n".join(faults))
print("%d cases" % len(CASES))

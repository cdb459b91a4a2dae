# Boot script of the scenario `fallback`, for U-Boot.
#
# A board's own U-Boot counts boots itself (CONFIG_BOOTCOUNT_LIMIT) and runs
# altbootcmd when there were more than bootlimit. Debian's builds for QEMU lack
# that, so this script does both, with a file of the boot partition.
setenv bootlimit @TRIES@
setenv bootcount 0
if fatload virtio 0:1 ${kernel_addr_r} bootcount; then
    env import -t ${kernel_addr_r} ${filesize} bootcount
fi
setexpr bootcount ${bootcount} + 1
env export -t ${kernel_addr_r} bootcount
fatwrite virtio 0:1 ${kernel_addr_r} bootcount ${filesize}

setenv image new
setenv altbootcmd 'setenv image old'
if itest ${bootcount} > ${bootlimit}; then
    run altbootcmd
fi
echo "bootloader: boot ${bootcount}, image ${image}"
setenv bootargs '@PARAMETERS@'
fatload virtio 0:1 ${kernel_addr_r} kernel
fatload virtio 0:1 ${ramdisk_addr_r} ${image}
booti ${kernel_addr_r} ${ramdisk_addr_r}:${filesize} ${fdtcontroladdr}

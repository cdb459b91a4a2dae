msg "host name and loopback"
hostname -F /etc/hostname
ip link set up dev lo

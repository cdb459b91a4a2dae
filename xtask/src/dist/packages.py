"""Reads the packages of Alpine in a directory with Python's gzip and tarfile, and
checks what apk checks when it installs one."""

import hashlib
import io
import pathlib
import sys
import tarfile
import zlib


def members(data):
    """Returns the compressed streams of a file, and their contents."""
    while data:
        stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
        content = stream.decompress(data) + stream.flush()
        yield data[: len(data) - len(stream.unused_data)], content
        data = stream.unused_data


def check(file):
    """Checks a package; returns the number of its files."""
    data = file.read_bytes()
    (_, control), (packed, files) = members(data)
    info = {}
    with tarfile.open(fileobj=io.BytesIO(control)) as tar:
        assert tar.getnames() == [".PKGINFO"], tar.getnames()
        for line in tar.extractfile(".PKGINFO").read().decode().splitlines():
            key, value = line.split(" = ", 1)
            info.setdefault(key, []).append(value)
    for key in ("pkgname", "pkgver", "arch", "size", "license", "datahash"):
        assert len(info[key]) == 1, key
    assert info["datahash"] == [hashlib.sha256(packed).hexdigest()]
    assert not control.endswith(bytes(1024)), "the control tar ends the package"
    size = 0
    links = {}
    with tarfile.open(fileobj=io.BytesIO(files)) as tar:
        for entry in tar:
            assert (entry.uid, entry.gid) == (0, 0), entry.name
            if entry.isdir():
                continue
            content = entry.linkname.encode()
            if entry.isfile():
                content = tar.extractfile(entry).read()
                size += len(content)
            else:
                links[entry.name] = entry.linkname
            found = entry.pax_headers["APK-TOOLS.checksum.SHA1"]
            assert found == hashlib.sha1(content).hexdigest(), entry.name
    assert info["size"] == [str(size)], (info["size"], size)
    assert links["usr/sbin/sv"] == "../lib/runt/runt", links
    # Read as one archive, as tar does it.
    with tarfile.open(file, "r:gz") as tar:
        assert tar.getnames()[0] == ".PKGINFO"
        return len(tar.getnames()) - 1


packages = sorted(pathlib.Path(sys.argv[1]).glob("*.apk"))
assert packages, "there are no packages"
for package in packages:
    print(f"{package.name}: {check(package)} entries")

"""Runs a program under the system call filters of a unit file, as systemd would: `python sandbox.py UNIT… -- PROGRAM …`

There is no service manager where tests run, but the filters are the kernel's, and systemd uses libseccomp, too.
Applied are SystemCallFilter, SystemCallErrorNumber (EPERM), RestrictAddressFamilies, MemoryDenyWriteExecute and
NoNewPrivileges; name spaces, file systems and limits are not.
"""

import ctypes
import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

ALLOW = 0x7FFF0000
PR_SET_NO_NEW_PRIVS, PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 38, 65, 1
EQUAL = 4
UNSUPPORTED = 75  # exit status


class Compare(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


def deny(number):
    return 0x00050000 | number


def read(paths):
    """Setting → its values in order, over a unit and its drop-ins."""
    found = {}
    for path in paths:
        for line in Path(path).read_text().splitlines():
            name, equals, value = line.partition("=")
            if equals and not line.startswith(("#", ";")):
                found.setdefault(name.strip(), []).append(value.strip())
    return found


def groups():
    """Group of system calls → their names, nested ones included."""
    text = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True).stdout
    found, name = {}, ""
    for line in text.splitlines():
        if line.startswith("@"):
            name = line.strip()
        elif name and line.strip() and not line.strip().startswith("#"):
            found.setdefault(name, []).append(line.strip())

    def expand(each):
        return {call for inner in found.get(each, ()) for call in expand(inner)} if each.startswith("@") else {each}

    return {name: expand(name) for name in found}


def allowed(lines):
    """The names that SystemCallFilter lines allow; systemd adds @default to every list of what is allowed."""
    known = groups()
    names = set(known["@default"])
    for line in lines:
        words = line.removeprefix("~").split()
        calls = {call for word in words for call in known.get(word, {word})}
        names = names - calls if line.startswith("~") else names | calls
    return names


def confine(unit):
    library, libc = ctypes.CDLL("libseccomp.so.2"), ctypes.CDLL(None, use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_rule_add_array.argtypes = (
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(Compare),
    )

    def load(rules, otherwise):
        context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(otherwise)))
        for name, action, compare in rules:
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number >= 0:  # else this machine has no such call
                library.seccomp_rule_add_array(
                    context, action, number, bool(compare), ctypes.byref(compare) if compare else None
                )
        if code := library.seccomp_load(context):
            raise OSError(-code, "seccomp_load")

    names = allowed(unit["SystemCallFilter"])  # reads files and starts a program, so before the filters
    families = {getattr(socket, name) for name in " ".join(unit["RestrictAddressFamilies"]).split()}
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    load(
        [
            ("socket", deny(errno.EAFNOSUPPORT), Compare(0, EQUAL, family, 0))
            for family in range(64)
            if family not in families
        ],
        ALLOW,
    )
    load([(name, ALLOW, None) for name in sorted(names)], deny(errno.EPERM))


def main():
    separator = sys.argv.index("--")
    try:
        confine(read(sys.argv[1:separator]))
    except OSError as error:
        sys.stderr.write(f"cannot confine: {error}\n")
        sys.exit(UNSUPPORTED)
    os.execvp(sys.argv[separator + 1], sys.argv[separator + 1 :])


if __name__ == "__main__":
    main()

/**
 * The Python program that shuts itself in and then runs the source it reads from standard input. Needs nothing beyond the
 * standard library, and no privileges on Linux 5.13 or later:
 *
 * - resource limits: processor time, address space, file size, open files, no core file;
 * - its own user and network namespace, where the kernel lets it have one: no interface but a dead loopback;
 * - Landlock: reads below the interpreter's and the system's library folders, writes below the temporary folder, nothing else;
 * - seccomp: no sockets, no new programs or processes, no signals to others, no tracing, mounting or namespaces.
 *
 * Arguments: a JSON object with `cpuSeconds`, `memoryBytes`, `folder` and `mode` ('run', or 'probe' to try the walls and print
 * what holds).
 */

export const sandboxBootstrap = String.raw`
import ctypes, json, os, platform, resource, struct, sys

options = json.loads(sys.argv[1])
source = sys.stdin.buffer.read().decode("utf-8")
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
applied = {"namespace": False, "landlock": 0, "seccomp": False, "limits": [], "problems": []}
folder = os.path.realpath(options["folder"])
os.chdir(folder)


def set_limits():
    wanted = {
        "RLIMIT_CPU": options["cpuSeconds"],
        "RLIMIT_AS": options["memoryBytes"],
        "RLIMIT_FSIZE": 16 << 20,
        "RLIMIT_NOFILE": 64,
        "RLIMIT_CORE": 0,
        "RLIMIT_STACK": 64 << 20,
    }
    for name, value in wanted.items():
        try:
            hard = resource.getrlimit(getattr(resource, name))[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(getattr(resource, name), (value, value))
            applied["limits"].append(name)
        except (OSError, ValueError) as error:
            applied["problems"].append("%s: %s" % (name, error))


def own_namespace():
    new_ipc, new_user, new_net = 0x08000000, 0x10000000, 0x40000000
    if libc.unshare(new_user | new_net | new_ipc) == 0:
        applied["namespace"] = True
    else:
        applied["problems"].append("namespaces: " + os.strerror(ctypes.get_errno()))


def landlock():
    create, add_rule, restrict = 444, 445, 446
    version = libc.syscall(create, None, ctypes.c_size_t(0), 1)
    if version < 1:
        applied["problems"].append("landlock: " + os.strerror(ctypes.get_errno()))
        return
    everything = (1 << 13) - 1
    if version >= 2:
        everything |= 1 << 13
    if version >= 3:
        everything |= 1 << 14
    network = 3 if version >= 4 else 0
    scoped = 3 if version >= 6 else 0
    attributes = struct.pack("=QQQ", everything, network, scoped)
    size = 8 if version < 4 else (16 if version < 6 else 24)
    rules = libc.syscall(create, attributes, ctypes.c_size_t(size), 0)
    if rules < 0:
        applied["problems"].append("landlock: " + os.strerror(ctypes.get_errno()))
        return
    read_file, read_folder, execute = 1 << 2, 1 << 3, 1 << 0
    readable = {sys.prefix, sys.base_prefix, sys.exec_prefix, "/usr", "/lib", "/lib64", "/etc/localtime"}
    readable |= {entry for entry in sys.path if entry}
    grants = [(path, read_file | read_folder | execute) for path in readable]
    grants += [(folder, everything & ~(1 << 6) & ~(1 << 11))]
    grants += [("/dev/null", read_file | 1 << 1), ("/dev/urandom", read_file), ("/dev/zero", read_file)]
    for path, allowed in grants:
        try:
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        if not os.path.isdir(path):
            allowed &= 1 << 0 | 1 << 1 | 1 << 2
        rule = struct.pack("=Qi", allowed, opened)
        libc.syscall(add_rule, ctypes.c_int(rules), 1, rule, 0)
        os.close(opened)
    if libc.syscall(restrict, ctypes.c_int(rules), 0) == 0:
        applied["landlock"] = int(version)
    else:
        applied["problems"].append("landlock: " + os.strerror(ctypes.get_errno()))
    os.close(rules)


# Numbers of the kernel's call tables: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
TABLES = {
    "x86_64": {
        "arch": 0xC000003E,
        "clone": 56,
        "tgkill": 234,
        "denied": [
            41, 57, 58, 59, 62, 101, 129, 155, 161, 165, 166, 167, 168, 169, 175, 176, 200, 246, 248, 249, 250, 272,
            297, 298, 308, 310, 311, 313, 320, 321, 322, 323, 424, 425, 428, 429, 430, 431, 432, 434, 438, 442,
        ],
    },
    "aarch64": {
        "arch": 0xC00000B7,
        "clone": 220,
        "tgkill": 131,
        "denied": [
            39, 40, 41, 51, 97, 104, 105, 106, 117, 129, 130, 138, 142, 198, 217, 218, 219, 221, 224, 225, 240, 241,
            268, 270, 271, 273, 280, 281, 282, 294, 424, 425, 428, 429, 430, 431, 432, 434, 438, 442,
        ],
    },
}


def seccomp():
    table = TABLES.get(platform.machine())
    if table is None:
        applied["problems"].append("seccomp: no call table for " + platform.machine())
        return
    load, equal, greater, bits, give = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, refuse, absent = 0x7FFF0000, 0x00050000 | 1, 0x00050000 | 38
    code = [(load, 0, 0, 4), (equal, 1, 0, table["arch"]), (give, 0, 0, 0x80000000), (load, 0, 0, 0)]
    # The x32 calls of x86_64 have numbers of their own.
    code += [(greater, 0, 1, 0x40000000), (give, 0, 0, refuse)]
    for number in table["denied"]:
        code += [(equal, 0, 1, number), (give, 0, 0, refuse)]
    # clone3 hides its flags behind a pointer: say that it does not exist, and libc falls back to clone.
    code += [(equal, 0, 1, 435), (give, 0, 0, absent)]
    thread = 0x00010000
    code += [(equal, 0, 4, table["clone"]), (load, 0, 0, 16), (bits, 1, 0, thread), (give, 0, 0, refuse), (give, 0, 0, allow)]
    code += [(equal, 0, 4, table["tgkill"]), (load, 0, 0, 16), (equal, 1, 0, os.getpid()), (give, 0, 0, refuse)]
    code += [(give, 0, 0, allow), (give, 0, 0, allow)]
    program = b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(code), ctypes.addressof(buffer))
    if libc.prctl(22, 2, header, 0, 0) == 0:
        applied["seccomp"] = True
    else:
        applied["problems"].append("seccomp: " + os.strerror(ctypes.get_errno()))


def probe():
    import socket

    def holds(attempt):
        try:
            attempt()
            return False
        except (OSError, PermissionError):
            return True

    outside = os.path.join(os.path.dirname(folder), os.path.basename(folder) + ".outside")

    def connect():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
            datagram.connect(("192.0.2.1", 9))

    def write_inside():
        with open(os.path.join(folder, "inside"), "w") as file:
            file.write("x")

    def fork():
        if os.fork() == 0:
            os._exit(0)

    applied["networkHolds"] = holds(connect)
    applied["writeHolds"] = holds(lambda: open(outside, "w").close())
    applied["readHolds"] = holds(lambda: open("/etc/passwd").close())
    applied["processHolds"] = holds(fork)
    applied["folderWorks"] = not holds(write_inside)
    applied["version"] = platform.python_version()
    print(json.dumps(applied))


set_limits()
if libc.prctl(38, 1, 0, 0, 0) != 0:
    applied["problems"].append("no_new_privs: " + os.strerror(ctypes.get_errno()))
own_namespace()
landlock()
seccomp()
sys.argv = ["program.py"]
if options["mode"] == "probe":
    probe()
else:
    scope = {"__name__": "__main__", "__builtins__": __builtins__}
    exec(compile(source, "program.py", "exec"), scope)
`;

"""The project's rules, as a test: who may include whom, banned words, sizes, links.

Usage: tidy.py [ROOT]. Prints "file:line: what is wrong" for each violation; exits 1 if there are
any. CONTRIBUTING.md explains the rules; ARCHITECTURE.md has the layers for readers. It reads text,
not C++: a rule that needs a compiler belongs to .clang-tidy.
"""

import os
import re
import sys

# --- who may include whom -------------------------------------------------------------------------

BASE = ("base",)
WIRE = BASE + ("uapi", "wire")
KERNEL = WIRE + ("kernel", "bpf")
CORE = KERNEL + ("net/core",)
INET = CORE + ("net/inet",)
NET = INET + ("net/ethernet", "net/8021q", "net/bridge", "net/mac80211", "net/wireless",
              "net/ipv4", "net/ipv6", "net/tcp", "net/udp", "net/sctp", "net/sched",
              "net/netfilter", "net/packet", "net/unix", "net/xdp", "net/socket", "net/netlink")
MACHINE = NET + ("drivers/net", "platform")

# Folder → folders it may include besides itself. A folder that is not here may not exist.
LAYERS = {
    "base": (),
    "uapi": BASE,
    "wire": BASE + ("uapi",),
    "kernel": BASE + ("uapi",),
    "bpf": BASE + ("uapi", "kernel"),
    "net/core": KERNEL,
    "net/ethernet": CORE,
    "net/8021q": CORE,
    "net/bridge": CORE,
    "net/mac80211": CORE,
    "net/wireless": CORE + ("net/mac80211",),
    "net/inet": CORE,
    "net/ipv4": INET,
    "net/ipv6": INET,
    "net/tcp": INET,
    "net/udp": INET,
    "net/sctp": INET,
    "net/sched": INET,
    "net/packet": INET,
    "net/unix": INET,
    "net/xdp": INET,
    "net/netfilter": INET + ("net/ipv4", "net/ipv6"),
    "net/socket": CORE,
    "net/netlink": NET,
    "platform": BASE,
    "drivers/net": CORE + ("net/ethernet",),
    "init": MACHINE,
    "sim": MACHINE + ("init",),
    "calls": BASE + ("uapi", "platform", "daemon"),
    "shim": BASE + ("uapi", "platform", "daemon", "calls"),
    "daemon": MACHINE + ("init", "sim"),
    "web": MACHINE + ("init", "sim", "daemon"),
    "cli": MACHINE + ("init", "sim", "daemon"),
    "judge": MACHINE + ("init", "sim"),
}

# Files that may include more than their folder: (pattern of the path below src/, folders).
MORE_FOR = (
    (re.compile(r"net/(tcp|udp|sctp)/\w+_ipv4\.cpp$"), ("net/ipv4",)),
    (re.compile(r"net/(tcp|udp|sctp)/\w+_ipv6\.cpp$"), ("net/ipv6",)),
    (re.compile(r"net/.*_netlink\.cpp$"), NET),
    (re.compile(r"drivers/net/(tap|af_packet_host|af_xdp|dpdk|vhost_user)\.(h|cpp)$"),
     ("platform",)),
    (re.compile(r"platform/(real_clock|os_entropy)\.h$"), ("kernel",)),  # only kernel/clock.h
    (re.compile(r"drivers/net/hwsim\.(h|cpp)$"), ("net/mac80211",)),
)

# What runs in programs may not depend on the daemon's machinery, only on what both sides say to
# each other, and on what tells programs apart before they are started.
IN_PROGRAMS = ("calls", "shim")
SHARED_WITH_PROGRAMS = re.compile(
    r"(daemon/(protocol|anchor_name|received_choice|settling_page)"
    r"|platform/(asan_options|fd_path|passed_fd|program_file))\.h$")

# Where the operating system may be seen.
SYSTEM_FOLDERS = ("platform", "daemon", "calls", "shim", "cli", "web", "judge")
SYSTEM_FILES = re.compile(r"drivers/net/(tap|af_packet_host|af_xdp|dpdk|vhost_user)\.(h|cpp)$")

STANDARD_HEADERS = frozenset("""
    algorithm any array atomic bit bitset cassert cctype cerrno cfloat charconv chrono cinttypes
    climits cmath compare complex concepts condition_variable coroutine csetjmp csignal cstdarg
    cstddef cstdint cstdio cstdlib cstring ctime deque exception execution expected filesystem
    format forward_list fstream functional future initializer_list iomanip ios iosfwd iostream
    istream iterator latch limits list locale map memory memory_resource mutex new numbers numeric
    optional ostream queue random ranges ratio regex scoped_allocator semaphore set shared_mutex
    source_location span sstream stack stdexcept stop_token streambuf string string_view syncstream
    system_error thread tuple type_traits typeindex typeinfo unordered_map unordered_set utility
    valarray variant vector version""".split())
LIBRARIES_EVERYWHERE = re.compile(
    r"(fmt/\w+\.h|tl/expected\.hpp|boost/intrusive/.*|sanitizer/asan_interface\.h)$")

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)

# --- banned words ---------------------------------------------------------------------------------

CORE_FOLDERS = tuple(folder for folder in LAYERS
                     if folder not in ("platform", "sim", "daemon", "shim", "web", "cli", "judge"))
OUTSIDE = ("platform", "daemon", "shim", "web", "cli", "judge")


class Word:
    """A pattern that only some places may use, or that one folder (`banned_in`) may not."""

    def __init__(self, pattern, why, folders=(), files=r"(?!)", unless=r"(?!)", banned_in=None):
        self.pattern, self.why, self.banned_in = re.compile(pattern), why, banned_in
        self.folders, self.files, self.unless = folders, re.compile(files), re.compile(unless)

    def allowed_in(self, path, folder):
        if self.banned_in is not None and folder != self.banned_in:
            return True
        return folder in self.folders or bool(self.files.search(path))


WORDS = (
    Word(r"\bunordered_(map|set|multimap|multiset)\b",
         "std::unordered_*: its order differs from run to run; use base/hash_table.h or std::map"),
    Word(r"\b(std::)?(recursive_|timed_|shared_)*mutex\b|\bstd::(lock_guard|unique_lock|scoped_lock"
         r"|shared_lock|condition_variable\w*|call_once|once_flag|counting_semaphore|latch|barrier)"
         r"\b|\bpthread_(mutex|rwlock|cond|spin|barrier)\w*",
         "a lock: data-path code has none; use a mailbox",
         ("platform", "shim", "judge"), r"^kernel/(mailbox|rcu)\.(h|cpp)$|^kernel/rtnl\.h$"),
    # A check that fails says no more than where: the recovery point is the thread's.
    Word(r"\bthread_local\b|\b__thread\b", "thread-local state: all state belongs to a kernel",
         ("shim",), r"^sim/recovery\.cpp$"),
    Word(r"\b(system|steady|high_resolution)_clock\b|\bclock_gettime\b|\bgettimeofday\b"
         r"|\btime\s*\(\s*(nullptr|NULL|0)\s*\)|\bthis_thread\b"
         r"|\b(u|nano)sleep\s*\(|(?<!\w)::sleep\s*\(",
         "a clock: time comes from cx.now()", OUTSIDE, r"^calls/deadline\.h$"),
    Word(r"\bs?rand\s*\(|\brandom_device\b|\bmt19937\w*\b|\bgetrandom\b|\bgetentropy\b",
         "chance: randomness comes from cx.rng or the seed", OUTSIDE),
    Word(r"\b(dynamic_cast|typeid)\b", "run-time type information in the core",
         ("platform", "sim") + OUTSIDE),
    Word(r"\b(throw|try|catch)\b", "exceptions in the core: errors are values",
         ("sim",) + OUTSIDE),
    Word(r"\bstd::(cout|cerr|clog)\b|\b(f|v|vf)?printf\s*\(|\bspdlog\b|\bputs\s*\(",
         "logging in the core: trace points and counters tell what happened",
         ("sim",) + OUTSIDE, r"^base/check\.cpp$"),
    # A private constructor needs `std::unique_ptr<t>(new t)`; a placement owns nothing.
    Word(r"(?<!operator )\bnew\b(?!\s*\()|(?<!operator )(?<!=)(?<!= )\bdelete\b(?!\s*;)",
         "raw new or delete: use an owner (std::make_unique, skb_ptr, ref)",
         (), r"^base/", unless=r"unique_ptr<[^;]*\(new\b"),
    Word(r"\berrno\b", "errno, which is a hook's: results are -errno", banned_in="calls"),
    Word(r"\b(next|raw)::|\bdlsym\b|\bsyscall\s*\(",
         "a call of this process's own: what it means depends on the caller (calls/caller.h)",
         banned_in="calls"),
)
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b")

# --- sizes ----------------------------------------------------------------------------------------

MAX_COLUMNS = 100
MAX_FUNCTION_LINES = 70
MAX_FILE_LINES = 1200

CPP = (".h", ".cpp")
SCRIPTS = (".py", ".sh", ".cmake")
SKIPPED_FOLDERS = {"build", ".git", ".cache", "__pycache__", "node_modules"}


def blank_comments_and_strings(text):
    """The same text with comments and the insides of literals turned to spaces (newlines stay)."""
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|R"([^\s()\\]{0,16})\(.*?\)\1"|"(?:\\.|[^"\\\n])*"'
        r"|(?<![0-9a-fA-FxX])'(?:\\.|[^'\\\n])+'", re.DOTALL)

    def blank(match):
        found = match.group()
        if found.startswith(("//", "/*")):
            return re.sub(r"[^\n]", " ", found)
        quote = found[-1]
        return quote + re.sub(r"[^\n]", " ", found[1:-1]) + quote

    # An include's quoted name is no literal.
    return pattern.sub(lambda m: m.group() if re.search(
        r"#\s*include\s*$", text[max(0, m.start() - 20):m.start()]) else blank(m), text)


def line_at(text, position):
    return text.count("\n", 0, position) + 1


def folder_of(path):
    """The layer's folder of a path below src/ ("net/tcp/tcp.h" → "net/tcp")."""
    parts = path.split("/")
    return "/".join(parts[:2]) if parts[0] in ("net", "drivers") else parts[0]


def is_system_header(name):
    """True for headers that are neither the C++ library's nor a C++ library's of ours."""
    return name.endswith(".h") and not LIBRARIES_EVERYWHERE.match(name) and not name.startswith(
        ("fmt/", "spdlog/", "yaml-cpp/", "CLI/", "gtest/", "gmock/", "rapidcheck", "benchmark/"))


def check_includes(path, text):
    """`path` is below src/. Yields (line, what)."""
    folder = folder_of(path)
    if folder not in LAYERS:
        yield 1, f"src/{folder} is no layer of tools/tidy.py"
        return
    allowed = {folder, *LAYERS[folder]}
    for pattern, more in MORE_FOR:
        if pattern.search(path):
            allowed.update(more)
    for match in INCLUDE.finditer(text):
        line, own, other = line_at(text, match.start(1 if match.group(1) else 2)), *match.groups()
        if own:
            to = folder_of(own)
            if to not in LAYERS:
                yield line, f'"{own}": includes are spelled from src/'
            elif to not in allowed:
                yield line, f"{folder} may not include {to} ({own})"
            elif folder in IN_PROGRAMS and to in ("daemon", "platform") and \
                    not SHARED_WITH_PROGRAMS.match(own):
                yield line, f"{folder} may include only the protocol of the daemon, not {own}"
            continue
        if other in STANDARD_HEADERS or LIBRARIES_EVERYWHERE.match(other):
            continue
        if is_system_header(other):
            if folder not in SYSTEM_FOLDERS and not SYSTEM_FILES.match(path):
                yield line, f"system header <{other}> in {folder}"
        elif folder in CORE_FOLDERS:
            yield line, f"library header <{other}> in {folder}"


def check_words(path, code):
    folder = folder_of(path)
    for word in WORDS:
        if word.allowed_in(path, folder):
            continue
        for match in word.pattern.finditer(code):
            line = code[code.rfind("\n", 0, match.start()) + 1:].split("\n", 1)[0]
            if not line.lstrip().startswith("#") and not word.unless.search(line):
                yield line_at(code, match.start()), f"{match.group().strip()!r} is {word.why}"


STATIC_VARIABLE = re.compile(
    r"^[ \t]*(?:inline[ \t]+)?static[ \t]+"
    r"(?!const\b|constexpr\b|constinit const\b|consteval\b|inline[ \t]+const|void\b|auto\b)"
    r"[^(;{=]*[;{=]", re.MULTILINE)
GLOBAL_VARIABLE = re.compile(
    r"^(?:inline[ \t]+|constinit[ \t]+|extern[ \t]+)*"
    r"(?!(?:using|namespace|template|struct|class|enum|union|friend|typedef|return|const|constexpr"
    r"|consteval|concept|static|extern|inline|public|private|protected|static_assert|goto|else|case"
    r"|default|requires)\b)"
    r"[A-Za-z_][\w:<>,&* \t]*[ \t&*>](?!operator\b)\w+(?:\[[^\]]*\])?[ \t]*(?:=[^;]*|\{[^;]*\})?;",
    re.MULTILINE)


def check_state(code):
    for pattern in (STATIC_VARIABLE, GLOBAL_VARIABLE):
        for match in pattern.finditer(code):
            words = " ".join(match.group().split())
            yield line_at(code, match.start()), f"mutable state outside a kernel: {words}"


def bodies(code):
    """Yields (name, first line, last line) of each function body of blanked code."""
    stack = []  # (kind, head before it, position)
    head_start = 0
    saved_heads = []
    position = 0
    head_prefix = ""
    code = re.sub(r"^[ \t]*#(?:[^\n\\]|\\.)*(?:\\\n(?:[^\n\\]|\\.)*)*",
                  lambda m: re.sub(r"[^\n]", " ", m.group()), code, flags=re.MULTILINE)
    for match in re.finditer(r"[{};]", code):
        position = match.start()
        head = head_prefix + code[head_start:position]
        if match.group() == "{":
            kind = kind_of_brace(head, stack[-1][0] if stack else "scope")
            stack.append((kind, head, position))
            saved_heads.append(head)
            head_prefix = ""
        elif match.group() == "}":
            if not stack:
                return
            kind, opened_by, start = stack.pop()
            before = saved_heads.pop()
            if kind == "function":
                name = re.findall(r"([\w~:]+)\s*\(", opened_by)
                first = line_at(code, start - len(opened_by.lstrip()) if len(opened_by) <= start
                                else start)
                yield name[0] if name else "?", first, line_at(code, position)
            head_prefix = before + "{}" if kind == "value" else ""
        else:
            head_prefix = ""
        head_start = position + 1


def without_parentheses(text):
    while True:
        shorter = re.sub(r"\([^()]*\)", "@", text)
        if shorter == text:
            return text
        text = shorter


def kind_of_brace(head, around):
    """What an opening brace begins: "scope" (namespace, class), "function", "value" or "block"."""
    if around in ("function", "block"):
        return "block"
    flat = without_parentheses(head)
    flat = re.sub(r"template\s*<[^{};]*?>\s*(?=\w)", "", flat, count=1)
    if re.search(r"\bnamespace\b|\bextern\s*$", flat):
        return "scope"
    if "@" not in flat and re.search(r"\b(class|struct|union|enum)\b", flat):
        return "scope"
    if around == "value":
        return "value"
    initialisers = re.search(r"@[\w\s]*:(?!:)(.*)$", flat, re.DOTALL)
    if initialisers:  # of a constructor: `: a_{1}, b_(2) {`
        return "value" if re.search(r"[\w>]$", flat) else "function"
    if "@" not in flat:
        return "value"
    if re.search(r"(?<!operator)(?<![=!<>])=(?!=)[^@]*$", flat.split("@")[0]) and \
            "operator" not in flat:
        return "value"
    return "function"


def check_functions(code):
    for name, first, last in bodies(code):
        if last - first + 1 > MAX_FUNCTION_LINES:
            yield first, f"{name} has {last - first + 1} lines; at most {MAX_FUNCTION_LINES}"


def check_text(path, text):
    """What holds for every file of code or script: columns, unfinished work, a head comment."""
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > MAX_COLUMNS:
            yield number, f"{len(line)} columns; at most {MAX_COLUMNS}"
        if line.endswith((" ", "\t")):
            yield number, "white space at the end of the line"
        if UNFINISHED.search(line):
            yield number, f"unfinished work: {UNFINISHED.search(line).group()}"
    lines = text.count("\n")
    if lines > MAX_FILE_LINES:
        yield lines, f"{lines} lines; at most {MAX_FILE_LINES}"
    head = text.split("\n#!", 1)[0].split("\n", 2)
    first = head[1] if head[0].startswith("#!") and len(head) > 1 else head[0]
    if not first.startswith(("//", "/*", "#", '"""')) or first.startswith("#include"):
        yield 1, "no head comment: say what the file does and what it does not"


def slug(title):
    """The anchor that GitHub gives a heading."""
    words = re.sub(r"[^\w\- ]", "", re.sub(r"`|\*", "", title.strip()).lower())
    return words.replace(" ", "-")


def markdown_anchors(path):
    with open(path, encoding="utf-8") as file:
        return {slug(m) for m in re.findall(r"^#+ (.*)$", file.read(), re.MULTILINE)}


def check_markdown(root, path, text):
    prose = re.sub(r"```.*?```|`[^`\n]*`", lambda m: re.sub(r"[^\n]", " ", m.group()), text,
                   flags=re.DOTALL)
    for match in re.finditer(r"\[[^\]\n]*\]\(([^)\s]+)\)", prose):
        target = match.group(1)
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = os.path.join(root, os.path.dirname(path), name) if name else os.path.join(root, path)
        if not os.path.exists(file):
            yield line_at(prose, match.start()), f"link to {target}, which does not exist"
        elif anchor and file.endswith(".md") and anchor not in markdown_anchors(file):
            yield line_at(prose, match.start()), f"link to {target}: no such heading"
    for number, line in enumerate(text.split("\n"), 1):
        if UNFINISHED.search(line):
            yield number, f"unfinished work: {UNFINISHED.search(line).group()}"


def check_dead_headers(files):
    """Headers below src/ that no file includes."""
    included = {name for text in files.values() for name, _ in INCLUDE.findall(text)}
    for path in files:
        if path.startswith("src/") and path.endswith(".h") and path[4:] not in included:
            yield path, 1, "no file includes this header"


RARE_BRANCHES = "src/sim/rare_branches.h"


def check_rare_branches(files):
    """Marks of rare branches below src/net that the simulator's list lacks, and the other way."""
    if RARE_BRANCHES not in files:
        return
    listed = set(re.findall(r'"(\w+)"', blank_includes(files[RARE_BRANCHES])))
    marked = set()
    for path, text in files.items():
        if not path.startswith("src/net/"):
            continue
        for match in re.finditer(r'\bsometimes\(\s*"(\w+)"', text):
            marked.add(match.group(1))
            if match.group(1) not in listed:
                yield path, line_at(text, match.start()), \
                    f"{match.group(1)} is not in {RARE_BRANCHES}"
    for name in sorted(listed - marked):
        yield RARE_BRANCHES, 1, f"{name} marks no branch in src/net"


def blank_includes(text):
    return INCLUDE.sub("", text)


def source_files(root):
    """Paths below root, in order, of what the rules are about."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in SKIPPED_FOLDERS)
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name), root)
            if name.endswith((*CPP, ".c", *SCRIPTS, ".md")) or name in ("CMakeLists.txt", "ph"):
                yield path


def check_file(root, path, text):
    if path.endswith(".md"):
        yield from check_markdown(root, path, text)
        return
    yield from check_text(path, text)
    if not path.endswith(CPP):
        return
    code = blank_comments_and_strings(text)
    if path.startswith(("src/", "tests/")):
        yield from check_functions(code)
    if path.startswith("src/"):
        below = path[len("src/"):]
        yield from check_includes(below, text)
        yield from check_words(below, code)
        # The program's process is their machine; who is left when a machine is no more; and the
        # handler of operator new, which is one for the process and is given nothing.
        if (folder_of(below) not in ("shim", "judge")
                and below not in ("sim/recovery.cpp", "daemon/memory_reserve.cpp")):
            yield from check_state(code)


def check_tree(root):
    """Every violation below root, as (path, line, what), in order."""
    texts = {}
    for path in source_files(root):
        with open(os.path.join(root, path), encoding="utf-8") as file:
            texts[path] = file.read()
    for path, text in texts.items():
        for line, what in sorted(check_file(root, path, text)):
            yield path, line, what
    yield from check_dead_headers(texts)
    yield from check_rare_branches(texts)


def main(words):
    root = words[0] if words else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    count = 0
    for path, line, what in check_tree(root):
        print(f"{path}:{line}: {what}")
        count += 1
    if count:
        print(f"{count} violation{'s' if count > 1 else ''} of the rules in CONTRIBUTING.md")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

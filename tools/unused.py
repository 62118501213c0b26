"""Finds rooms that nobody enters: fields, drop reasons and counters that nothing gives or reads.

Usage: unused.py [ROOT]. Prints "file:line: what nobody does with it"; exits 1 if there is any.

It reads text, not C++: a name counts as used where its word stands in src, tests, fuzz, bench or
examples. So it may overlook what shares its name with something that is used; what it reports,
nobody uses. A setting (sysctl) is a field that a table of settings names: that is no use of it.
"""

import os
import re
import sys

FOLDERS = ("src", "tests", "fuzz", "bench", "examples")
# Where a header of src declares a reason, and a group of counters.
REASON = re.compile(r"^inline constexpr drop_reason_info (\w+){", re.MULTILINE)
GROUP = re.compile(r"^enum \w+_counters : u16 {([^}]*)}", re.MULTILINE)
# Fields that mirror what Linux or an RFC lays out: a reader of bytes needs them all.
LAYOUTS = ("src/uapi/", "src/wire/", "src/judge/", "tests/", "bench/", "fuzz/", "examples/")
# Fields that matter by their end or their size alone.
HELD = {"private_": "the process that the daemon's programs share ends with the server",
        "last_words_": "programs hear of the daemon's death while it is there",
        "share": "the descriptors of a flag count against its program until it goes",
        "pad": "the bytes of a block begin at a multiple of 16"}

COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
TEXT = re.compile(r'"(?:\\.|[^"\\\n])*"')
# `type name;`, `type name = value;`, `type name{};`, `type a, b = 1;` at the level of a class.
FIELD = re.compile(
    r"^\s+(?!(?:return|using|typedef|friend|static_assert|case|goto|throw|delete|co_\w+|template|"
    r"operator)\b)(?:mutable |const |volatile |struct |unsigned )*[\w:]+(?:<[^;()=]*>)?[\s*&]+"
    r"([a-z_]\w*(?:\s*(?:=\s*[^;,(){}]+|\{[^;{}]*\}|:\s*\d+(?:\s*=\s*[^;,]+)?|\[[^\]]*\]))?"
    r"(?:,\s*\*?[a-z_]\w*[^;,(]*)*);", re.MULTILINE)
WRITTEN = re.compile(r"\s*(?:=(?!=)|\+=|-=|\|=|&=|\^=|\*=|\+\+|--)")


def blank(match):
    return re.sub(r"[^\n]", " ", match.group())


def sources(root):
    """{path: text without comments}; what stands in quotation marks stays."""
    out = {}
    for top in FOLDERS:
        for folder, _, files in os.walk(os.path.join(root, top)):
            for name in files:
                if name.endswith((".h", ".cpp", ".c")):
                    path = os.path.join(folder, name)
                    with open(path, encoding="utf-8") as file:
                        out[os.path.relpath(path, root)] = COMMENT.sub(blank, file.read())
    return out


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def words_of(files):
    """{word: [(path, position)]} of all that is not within quotation marks."""
    out = {}
    for path, text in files.items():
        for match in re.finditer(r"[A-Za-z_]\w*", TEXT.sub(blank, text)):
            out.setdefault(match.group(), []).append((path, match.start()))
    return out


def counters(text):
    """[(counter, position)] of the groups in a header."""
    for group in GROUP.finditer(text):
        for match in re.finditer(r"(?:^|,)\s*([a-z]\w*)", group.group(1)):
            if not match.group(1).endswith("_counters_end") and match.group(1) != "none":
                yield match.group(1), group.start(1) + match.start(1)


def words_given(files, space, rows):
    """The names of a namespace that src writes out, but for what asks how often and for `rows`."""
    given = re.compile(rf"(?<!drops\()\b{space}::(\w+)")
    return {name for path, text in files.items() if path.startswith("src/")
            for name in given.findall(rows.sub("", text))}


def unused_reasons(files):
    given = words_given(files, "drop_reason", re.compile(r"^$"))
    for path, text in files.items():
        for match in REASON.finditer(text) if path.startswith("src/") else ():
            if match.group(1) not in given and match.group(1) != "none":
                yield (path, line_of(text, match.start()),
                       f"nothing is dropped for drop_reason::{match.group(1)}")


def unused_counters(files):
    # `{mib::tcp_in_segs, "TcpInSegs"}` names a counter; nothing counts there.
    given = words_given(files, "mib", re.compile(r'{mib::\w+,\s*"\w+"}'))
    for path, text in files.items():
        for name, position in counters(text) if path.startswith("src/") else ():
            if name not in given:
                yield path, line_of(text, position), f"nothing counts mib::{name}"


def fields(path, text):
    """[(name, position)] of what look like fields of classes in a header."""
    for match in FIELD.finditer(text):
        depth_text = text[:match.start()]
        if not within_class(depth_text):
            continue
        start = match.start(1)
        for piece in re.finditer(r"(?:^|,\s*\*?)([a-z_]\w*)", match.group(1)):
            yield piece.group(1), start + piece.start(1)


def within_class(before):
    """Whether the innermost open brace at the end of `before` belongs to a class."""
    depth = 0
    for position in range(len(before) - 1, -1, -1):
        if before[position] == "}":
            depth += 1
        elif before[position] == "{":
            if depth == 0:
                head = re.split(r"[;{}]", before[:position])[-1]
                return bool(re.search(r"\b(class|struct|union)\b", head)) and "(" not in head
            depth -= 1
    return False


def registered(text, position):
    """Whether a table of settings takes it here: `table.add("net.ipv4.x", net.x, 0, 1)`."""
    before = re.split(r"[;{}]", text[max(0, position - 200):position])[-1]
    return re.search(r"\badd(_\w+)?\(\s*\"", before) is not None


def only_written(files, uses):
    """Whether each use of a name writes it as a statement of its own."""
    for path, position in uses:
        text = files[path]
        after = re.compile(r"\w+").match(text, position).end()
        before = re.split(r"[;{}]", text[max(0, position - 200):position])[-1]
        increment = re.fullmatch(r"\s*(\+\+|--)[\w.>\-()*]*", before)
        plain = re.fullmatch(r"\s*[\w.>\-()*\[\]:]*", before)
        if not (increment or (plain and WRITTEN.match(text, after))):
            return False
    return True


def unused_fields(files, words):
    for path, text in files.items():
        if not path.startswith("src/") or path.startswith(LAYOUTS):
            continue
        for name, position in fields(path, text):
            if name in HELD:
                continue
            uses = [use for use in words[name] if use != (path, position)]
            if not uses:
                yield path, line_of(text, position), f"nobody uses the field {name}"
                continue
            uses = [use for use in uses if not registered(files[use[0]], use[1])]
            if only_written(files, uses):
                yield path, line_of(text, position), f"nobody reads the field {name}"


def main(root):
    files = sources(root)
    words = words_of(files)
    found = sorted({*unused_reasons(files), *unused_counters(files), *unused_fields(files, words)})
    for path, line, what in found:
        print(f"{path}:{line}: {what}")
    if found:
        print(f"{len(found)} that nobody uses")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1
                  else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

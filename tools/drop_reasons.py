"""Which test names which drop reason. With --check it is a test: every reason is named by a test,
or stands below with why it is not; and whoever is named by now has left that list.

Usage: drop_reasons.py [--check] [ROOT]
"""

import glob
import os
import re
import sys

# Reason → why no test can name it.
WHY_NOT = {
    "bad_vnet_header": "the kernel writes no wrong header to a TAP device",
    "tcp_close": "a closed socket is in no table, so that no segment reaches it",
    "tcp_ofo_drop": "pruning makes room before; the swarm forces it (tcp_forced_ofo_drop)",
}


def reasons(root):
    """All reasons but `none` that a header of src declares, header by header in their order."""
    out = []
    for file in sorted(glob.glob(os.path.join(root, "src/**/*.h"), recursive=True)):
        with open(file, encoding="utf-8") as opened:
            text = re.sub(r"//[^\n]*", "", opened.read())
        out += re.findall(r'^inline constexpr drop_reason_info \w+{\s*"(\w+)"', text, re.MULTILINE)
    return [name for name in out if name != "none"]


def tests_that_name(root):
    """{word: the tests that have it as drop_reason::word, dr::word or "word"}"""
    named = {}
    for pattern in ("tests/**/*.cpp", "tests/**/*.h", "tests/**/*.py", "fuzz/*.cpp"):
        for file in sorted(glob.glob(os.path.join(root, pattern), recursive=True)):
            with open(file, encoding="utf-8") as opened:
                text = opened.read()
            for word in set(re.findall(r'(?:\b(?:drop_reason|dr)::|")([a-z]\w*)\b', text)):
                named.setdefault(word, []).append(os.path.relpath(file, root))
    return named


def check(all_reasons, named):
    """What is wrong, a line each."""
    for reason in sorted({name for name in all_reasons if all_reasons.count(name) > 1}):
        yield f"two subsystems declare drop_reason::{reason}"
    for reason in all_reasons:
        if reason not in named and reason not in WHY_NOT:
            yield f"no test names drop_reason::{reason}"
        if reason in named and reason in WHY_NOT:
            yield f"a test names drop_reason::{reason}: take it out of WHY_NOT"
    for reason in WHY_NOT:
        if reason not in all_reasons:
            yield f"there is no drop_reason::{reason}: take it out of WHY_NOT"


def main(words):
    checking = words[:1] == ["--check"]
    root = (words[checking:] or
            [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))])[0]
    all_reasons, named = reasons(root), tests_that_name(root)
    if checking:
        wrong = list(check(all_reasons, named))
        print("\n".join(wrong), end="\n" if wrong else "")
        return 1 if wrong else 0
    for reason in all_reasons:
        print(f"{reason:24} {', '.join(named.get(reason, [])) or WHY_NOT.get(reason, '-')}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

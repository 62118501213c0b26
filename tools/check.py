"""The whole check, as `./ph test` runs it; with --fuzz, a longer run of the fuzz targets.

Builds each preset, runs its tests, then the fuzz targets for a while and the tests with real
programs. A failure stops nothing: every step runs and all failures are named at the end. The last
line is "N passed, N failed, N skipped"; the exit code is 0 only when nothing failed.

`./ph test --full` adds what is long: more seeds of the swarm, a minute for each fuzz target,
Python's own test suites, a soak. It may be interrupted: a step that passed is not run again while
the sources are the same (--fresh: it is), as build/full/ remembers.
"""

import concurrent.futures
import glob
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build")
JOBS = int(os.environ.get("PH_JOBS", 0)) or min(os.cpu_count() or 1, 8)
THREADED_AREAS = ("kernel", "platform", "daemon")  # what ThreadSanitizer is for
FUZZ_SECONDS = 10
SWARM_SEEDS = 10_000
FULL_FUZZ_SECONDS = 60
FULL_SWARM_SEEDS = 40_000
FILE_PATIENCE_S = 900  # for one file of program tests
FULL_S = 9000  # all of --full
FULL_REST_S = 1500  # what stands beside the soak in tests/full
FULL_PATIENCE_S = 5400  # for one file of tests/full
SWARM_PATIENCE_S = 1800
NEED_RELEASE = ("swarm", "programs", "interop", "more seeds", "full")
SKIPPED_EXIT = 77  # of a shell test
LIVE = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
COLOUR = LIVE and not os.environ.get("NO_COLOR")


class Tally:
    """Counts of test cases, and the failures by name with what they said."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.failures = []

    def add(self, passed=0, failed=0, skipped=0):
        self.passed += passed
        self.failed += failed
        self.skipped += skipped

    def fail(self, name, said=""):
        self.failures.append(name)
        print(f"{'FAILED':>8}  {name}")
        for line in said.rstrip().splitlines()[-60:]:
            print(f"          {line}")

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def live(text):
    """Shows what goes on right now, on a terminal."""
    if LIVE:
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\x1b[K{text[:width]}", end="", flush=True)


def done(text):
    """One line that stays."""
    live("")
    print(f"\x1b[2m{text}\x1b[0m" if COLOUR else text, flush=True)


class Step:
    """`with Step(tally, "asan"):` prints what the step added to the tally and how long it took."""

    def __init__(self, tally, title):
        self._tally, self._title = tally, title

    def __enter__(self):
        self._start = time.monotonic()
        self._before = (self._tally.passed, self._tally.failed, self._tally.skipped)
        live(f"{self._title} ...")
        if not LIVE:
            print(f"{self._title} ...", flush=True)

    def __exit__(self, *_):
        now = (self._tally.passed, self._tally.failed, self._tally.skipped)
        passed, failed, skipped = (n - b for n, b in zip(now, self._before))
        done(f"{self._title}: {passed} passed, {failed} failed, {skipped} skipped "
             f"in {time.monotonic() - self._start:.0f} s")


def build(tally, preset, *targets):
    """True if the preset is built. A failed build counts as one failed test."""
    if subprocess.run([os.path.join(ROOT, "ph"), "build", preset, *targets]).returncode == 0:
        return True
    tally.add(failed=1)
    tally.fail(f"build {preset}")
    return False


def without_address_randomisation():
    """Words that run a program at fixed addresses, where that is allowed: ThreadSanitizer of GCC 12
    cannot start under the wide randomisation of newer kernels."""
    words = ["setarch", "-R"]
    allowed = shutil.which("setarch") and subprocess.run(
        [*words, "true"], stderr=subprocess.DEVNULL).returncode == 0
    return words if allowed else []


def gtest_counts(file):
    """(passed, failed, skipped) of one GoogleTest XML report; None if there is none."""
    try:
        cases = ElementTree.parse(file).getroot().iter("testcase")
    except (OSError, ElementTree.ParseError):
        return None
    passed = failed = skipped = 0
    for case in cases:
        if case.find("failure") is not None:
            failed += 1
        elif case.get("status") == "notrun" or case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def ctest(tally, preset, only=None):
    """Runs the tests of a built preset; `only` restricts them to some areas."""
    folder = os.path.join(BUILD, preset)
    reports = os.path.join(folder, "reports")
    shutil.rmtree(reports, ignore_errors=True)
    os.makedirs(reports)
    summary = os.path.join(reports, "ctest.xml")
    words = ["ctest", "--test-dir", folder, "-j", str(JOBS), "--output-junit", summary]
    if only is not None:
        words += ["-R", f"^({'|'.join(only)})$"]
    if preset == "tsan":
        words = [*without_address_randomisation(), *words]
    environment = {**os.environ, "GTEST_OUTPUT": f"xml:{reports}/",
                   "ASAN_OPTIONS": "detect_stack_use_after_return=1",
                   "UBSAN_OPTIONS": "print_stacktrace=1", "TSAN_OPTIONS": "second_deadlock_stack=1"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env=environment) as process:
        for line in process.stdout:
            live(f"{preset}: {line.strip()}")
    for case in ElementTree.parse(summary).getroot().iter("testcase"):
        name = case.get("name")
        counts = gtest_counts(os.path.join(reports, f"test_{name}.xml"))
        ran_well = case.get("status") == "run" and case.find("failure") is None
        if counts is None:
            counts = (1, 0, 0) if ran_well else (0, 1, 0)
        elif not ran_well and counts[1] == 0:  # it failed at its end, after the last case
            counts = (counts[0], 1, counts[2])
        tally.add(*counts)
        if counts[1]:
            live("")
            tally.fail(f"{preset}/{name}", case.findtext("system-out") or "")


def check_preset(tally, preset, only=None):
    """Builds a preset and runs its tests. True if it could be built."""
    targets = [] if only is None else [f"test_{area}" for area in only]
    if not build(tally, preset, *targets):
        return False
    with Step(tally, f"tests, {preset}"):
        ctest(tally, preset, only)
    return True


def threaded_areas():
    return [area for area in THREADED_AREAS
            if glob.glob(os.path.join(ROOT, "tests", area, "*_test.cpp"))]


def fuzz_one(target, seconds, seed):
    """(exit code, output) of one fuzz target. New inputs stay in build/fuzz/corpus."""
    name = os.path.basename(target)
    corpus = os.path.join(BUILD, "fuzz", "corpus", name)
    artifacts = os.path.join(BUILD, "fuzz", "artifacts")
    os.makedirs(corpus, exist_ok=True)
    os.makedirs(artifacts, exist_ok=True)
    words = [target, f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=2048",
             f"-artifact_prefix={artifacts}/{name}-", corpus]
    if seed:
        words.insert(1, f"-seed={seed}")
    kept = os.path.join(ROOT, "fuzz", "corpus", name)
    if os.path.isdir(kept):
        words.append(kept)
    try:
        ran = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             timeout=seconds + 60)
        return ran.returncode, ran.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as expired:
        return 1, (expired.stdout or b"").decode(errors="replace") + "\nit does not end"


def fuzz(tally, only=None, seconds=FUZZ_SECONDS, seed=1):
    """Runs the fuzz targets. `seed` 0 lets each choose its own."""
    sources = sorted(glob.glob(os.path.join(ROOT, "fuzz", "*_fuzz.cpp")))
    names = [os.path.splitext(os.path.basename(source))[0] for source in sources]
    if only is not None:
        names = [name for name in names if name in (only, f"{only}_fuzz")]
        if not names:
            tally.add(failed=1)
            tally.fail(f"fuzz: no target {only} in fuzz/")
    if not names or not build(tally, "fuzz", *names):
        return
    with Step(tally, f"fuzzing {len(names)} target{'s' if len(names) > 1 else ''}, "
                     f"{seconds} s each"):
        with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
            targets = [os.path.join(BUILD, "fuzz", name) for name in names]
            for name, (code, output) in zip(names, pool.map(
                    lambda target: fuzz_one(target, seconds, seed), targets)):
                live(f"fuzz: {name}")
                tally.add(passed=int(code == 0), failed=int(code != 0))
                if code != 0:
                    live("")
                    tally.fail(f"fuzz/{name}", output)


def run_file(words, log, patience_s=FILE_PATIENCE_S):
    """(exit code, output) of one file of program tests; ends its whole process group after it."""
    environment = {**os.environ, "PH": os.path.join(BUILD, "release", "ph"),
                   "PYTHONPATH": os.path.join(ROOT, "tests", "programs")}
    with open(log, "w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT,
                                   stdin=subprocess.DEVNULL, env=environment,
                                   start_new_session=True)
        try:
            code = process.wait(patience_s)
        except subprocess.TimeoutExpired:
            code = 1
            output.write(f"\nit did not end within {patience_s} s\n")
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        output.seek(0)
        return code, output.read()


def counts_of(code, output):
    """(passed, failed, skipped) from the last lines of unittest, or from a shell test's exit."""
    ran = re.findall(r"^Ran (\d+) tests? in ", output, re.MULTILINE)
    if not ran:
        return int(code == 0), int(code not in (0, SKIPPED_EXIT)), int(code == SKIPPED_EXIT)
    kinds = dict(re.findall(r"(failures|errors|skipped|unexpected successes)=(\d+)",
                            output.rstrip().splitlines()[-1]))
    skipped = int(kinds.pop("skipped", 0))
    failed = sum(int(n) for n in kinds.values())
    if code != 0 and failed == 0:
        failed = 1
    return max(int(ran[-1]) - failed - skipped, 0), failed, skipped


def programs(tally, folder, needs_root, patience_s=FILE_PATIENCE_S):
    """Runs tests/FOLDER/*_test.{py,sh}: real programs on labs of the release build."""
    files = sorted(glob.glob(os.path.join(ROOT, "tests", folder, "*_test.py")) +
                   glob.glob(os.path.join(ROOT, "tests", folder, "*_test.sh")))
    if not files:
        return
    if needs_root and os.geteuid() != 0:
        tally.add(skipped=len(files))
        done(f"tests/{folder}: {len(files)} skipped; they make network namespaces and TAP devices: "
             "run ./ph test as root")
        return
    logs = os.path.join(BUILD, "release", "reports")
    os.makedirs(logs, exist_ok=True)
    with Step(tally, f"tests/{folder}"):
        for file in files:
            name = os.path.basename(file)
            live(f"tests/{folder}: {name}")
            words = [sys.executable if file.endswith(".py") else "bash", file]
            log = os.path.join(logs, f"{folder}-{name}.log")
            code, output = run_file(words, log, patience_s)
            counts = counts_of(code, output)
            tally.add(*counts)
            if counts[1]:
                live("")
                tally.fail(f"{folder}/{name}", output)


def swarm(tally, seeds=SWARM_SEEDS):
    """The big mix of the swarm's seeds is one test; what fails says how to replay each seed."""
    words = [os.path.join(BUILD, "release", "ph"), "sim", "swarm", "--seeds", str(seeds),
             "--jobs", str(JOBS)]
    with Step(tally, f"swarm, {seeds} seeds"):
        log = os.path.join(BUILD, "release", "swarm.log")
        code, output = run_file(words, log, SWARM_PATIENCE_S)
        whole = re.search(rf"^{seeds} seeds, 0 failed", output, re.MULTILINE)
        well = bool(code == 0 and whole)
        tally.add(passed=int(well), failed=int(not well))
        if not well:
            live("")
            tally.fail("swarm", output)


def steps():
    """(name, what to do with a tally) of `./ph test`, in order."""
    yield "release", lambda tally: check_preset(tally, "release")
    yield "swarm", swarm
    yield "asan", lambda tally: check_preset(tally, "asan")
    if threaded_areas():
        yield "tsan", lambda tally: check_preset(tally, "tsan", threaded_areas())
    yield "fuzz", fuzz
    yield "programs", lambda tally: programs(tally, "programs", needs_root=False)
    yield "interop", lambda tally: programs(tally, "interop", needs_root=True)


def long_steps():
    """What `./ph test --full` adds. The soak is last, and as long as 150 minutes leave it."""
    yield "more seeds", lambda tally: swarm(tally, FULL_SWARM_SEEDS)
    yield "longer fuzzing", lambda tally: fuzz(tally, seconds=FULL_FUZZ_SECONDS, seed=0)
    yield "full", lambda tally: programs(tally, "full", needs_root=True,
                                         patience_s=FULL_PATIENCE_S)


def content():
    """A fingerprint of all that a step could depend on: every file but what is built."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            cwd=ROOT, capture_output=True)
    names = [os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    if listed.returncode != 0:  # not a clone
        names = [os.path.relpath(os.path.join(folder, name), ROOT)
                 for folder, folders, files in os.walk(ROOT) for name in files
                 if not os.path.relpath(folder, ROOT).startswith(("build", ".git"))]
    total = hashlib.sha256()
    for name in sorted(names):
        total.update(name.encode(errors="surrogateescape") + b"\0")
        try:
            with open(os.path.join(ROOT, name), "rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        except (FileNotFoundError, IsADirectoryError):
            total.update(b"gone")
    return total.hexdigest()


def run_once(tally, key, name, step):
    """Runs a step unless it passed before with the same sources; then its counts are taken over."""
    stamp = os.path.join(BUILD, "full", name.replace(" ", "-") + ".json")
    try:
        with open(stamp, encoding="utf-8") as file:
            before = json.load(file)
    except (OSError, ValueError):
        before = {}
    if before.get("key") == key:
        tally.add(passed=before["passed"], skipped=before["skipped"])
        done(f"{name}: passed before with these sources ({before['passed']} passed, "
             f"{before['skipped']} skipped)")
        return
    passed, failed, skipped = tally.passed, tally.failed, tally.skipped
    step(tally)
    if tally.failed > failed:
        return
    os.makedirs(os.path.dirname(stamp), exist_ok=True)
    with open(stamp + ".new", "w", encoding="utf-8") as file:
        json.dump({"key": key, "passed": tally.passed - passed, "skipped": tally.skipped - skipped},
                  file)
    os.replace(stamp + ".new", stamp)


def check(tally, quick):
    for name, step in steps():
        if name in NEED_RELEASE and "build release" in tally.failures:
            continue
        step(tally)
        if quick:
            return


def check_all(tally, fresh):
    """All of `./ph test`, then what is long; each step once for the same sources."""
    if fresh:
        shutil.rmtree(os.path.join(BUILD, "full"), ignore_errors=True)
    key = content()
    started = time.monotonic()
    for name, step in [*steps(), *long_steps()]:
        if name == "full":
            left = FULL_S - (time.monotonic() - started) - FULL_REST_S
            os.environ.setdefault("PH_SOAK_S", str(int(max(300, min(3600, left)))))
        if name not in NEED_RELEASE or "build release" not in tally.failures:
            run_once(tally, key, name, step)


def main(words):
    tally = Tally()
    started = time.monotonic()
    if words[:1] == ["--fuzz"]:
        fuzz(tally, words[1] if len(words) > 1 else None,
             int(words[2]) if len(words) > 2 else 60, seed=0)
    elif words in ([], ["quick"]):
        check(tally, quick=bool(words))
    elif words[0] == "--full" and set(words[1:]) <= {"--fresh"}:
        check_all(tally, fresh="--fresh" in words)
    else:
        print("usage: ./ph test [quick | --full [--fresh]]", file=sys.stderr)
        return 2
    if tally.failures:
        print(f"failed: {', '.join(tally.failures)}")
    done(f"the check took {time.monotonic() - started:.0f} s")
    print(tally)
    return 1 if tally.failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)

"""The whole check, as `./ph test` runs it; with --fuzz, a longer run of the fuzz targets.

Builds each preset, runs its tests, then the fuzz targets for a while and the tests with real
programs. A failure stops nothing: every step runs and all failures are named at the end. The last
line is "N passed, N failed, N skipped"; the exit code is 0 only when nothing failed.
"""

import concurrent.futures
import glob
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
FILE_PATIENCE_S = 900  # for one file of program tests
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


def run_file(words, log):
    """(exit code, output) of one file of program tests; ends its whole process group after it."""
    environment = {**os.environ, "PH": os.path.join(BUILD, "release", "ph"),
                   "PYTHONPATH": os.path.join(ROOT, "tests", "programs")}
    with open(log, "w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT,
                                   stdin=subprocess.DEVNULL, env=environment,
                                   start_new_session=True)
        try:
            code = process.wait(FILE_PATIENCE_S)
        except subprocess.TimeoutExpired:
            code = 1
            output.write(f"\nit did not end within {FILE_PATIENCE_S} s\n")
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


def programs(tally, folder, needs_root):
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
            code, output = run_file(words, os.path.join(logs, f"{folder}-{name}.log"))
            counts = counts_of(code, output)
            tally.add(*counts)
            if counts[1]:
                live("")
                tally.fail(f"{folder}/{name}", output)


def swarm(tally):
    """The big mix of the swarm's seeds. Each seed is a case; what fails says how to replay it."""
    words = [os.path.join(BUILD, "release", "ph"), "sim", "swarm", "--seeds", str(SWARM_SEEDS),
             "--jobs", str(JOBS)]
    with Step(tally, f"swarm, {SWARM_SEEDS} seeds"):
        code, output = run_file(words, os.path.join(BUILD, "release", "swarm.log"))
        counts = re.search(r"^(\d+) seeds, (\d+) failed", output, re.MULTILINE)
        ran, failed = (int(n) for n in counts.groups()) if counts else (1, 1)
        failed = max(failed, int(code != 0))
        tally.add(passed=ran - failed, failed=failed)
        if failed:
            live("")
            tally.fail("swarm", output)


def check(tally, quick):
    released = check_preset(tally, "release")
    if quick:
        return
    if released:
        swarm(tally)
    check_preset(tally, "asan")
    if threaded_areas():
        check_preset(tally, "tsan", threaded_areas())
    fuzz(tally)
    if released:
        programs(tally, "programs", needs_root=False)
        programs(tally, "interop", needs_root=True)


def main(words):
    tally = Tally()
    started = time.monotonic()
    if words[:1] == ["--fuzz"]:
        fuzz(tally, words[1] if len(words) > 1 else None,
             int(words[2]) if len(words) > 2 else 60, seed=0)
    elif words in ([], ["quick"]):
        check(tally, quick=bool(words))
    else:
        print("usage: ./ph test [quick]", file=sys.stderr)
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

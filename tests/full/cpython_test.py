"""Python's own tests (Debian's libpython3.11-testsuite), case by case: what passes on the real
kernel, in a network namespace with nothing but an IPv4 loopback, passes under `ph run` as well.

cpython_known.tsv names what does not, and why; it is exact both ways: a case that passes must leave
it, unless its reason begins with "sometimes: ". A case that fails is run a second time by itself,
so that a busy machine is no failure; one that hangs is ended, and the module goes on after it.
Needs root for the namespaces.
"""

import concurrent.futures
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

FOLDER = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(FOLDER))
PH = os.environ.get("PH", os.path.join(ROOT, "build", "release", "ph"))
PYTHON = "/usr/bin/python3.11"  # Debian's, to which the suite belongs
RUN_CASES = os.path.join(FOLDER, "run_cases.py")
KNOWN = os.path.join(FOLDER, "cpython_known.tsv")
HANG_S = 45  # a case that says nothing for so long hangs
JOBS = int(os.environ.get("PH_JOBS", 0)) or min(os.cpu_count() or 1, 4)

MODULES = """
test_socket test_asyncio test_ssl test_select test_selectors test_poll test_epoll
test_socketserver test_asyncore test_asynchat test_poplib test_ftplib test_smtplib test_smtpd
test_telnetlib test_imaplib test_nntplib test_httplib test_httpservers test_urllib test_urllib2
test_urllib2_localnet test_xmlrpc test_docxmlrpc test_wsgiref test_robotparser test_logging
test_os test_eintr
""".split()


def read_known():
    """{case: why it does not pass under `ph run`}"""
    known = {}
    with open(KNOWN, encoding="utf-8") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                case, why = line.rstrip("\n").split("\t")
                known[case] = why
    return known


def read_report(file):
    """({case: outcome}, the case that was begun and not ended or None, whether all were run)"""
    outcomes, begun, done = {}, None, False
    try:
        with open(file, encoding="utf-8") as report:
            for line in report:
                word, *rest = line.split()
                if word == "begin":
                    begun = rest[0]
                elif word == "end":
                    outcomes[rest[0]] = rest[1]
                    begun = None
                else:
                    done = True
    except FileNotFoundError:
        pass
    return outcomes, begun, done


def wait_while_it_speaks(process, report):
    """Waits for the end; ends the process group of one that hangs."""
    heard, since = -1, time.monotonic()
    while process.poll() is None:
        size = os.path.getsize(report) if os.path.exists(report) else 0
        if size != heard:
            heard, since = size, time.monotonic()
        elif time.monotonic() - since > HANG_S:
            break
        time.sleep(0.1)
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def run_module(prefix, module, folder, only=None):
    """{case: outcome} of a module, or of the cases `only`; "hung": also what ended the program."""
    outcomes = {}
    report = os.path.join(folder, "report")
    left_out = os.path.join(folder, "left-out")
    with open(os.path.join(folder, "output"), "a", encoding="utf-8") as output:
        while True:
            with open(left_out, "w", encoding="utf-8") as file:
                file.write("\n".join(outcomes))
            if os.path.exists(report):
                os.remove(report)
            process = subprocess.Popen(
                [*prefix, PYTHON, RUN_CASES, report, f"test.{module}", left_out, *(only or ())],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=folder,
                start_new_session=True)
            wait_while_it_speaks(process, report)
            more, begun, done = read_report(report)
            outcomes.update(more)
            if begun:
                outcomes[begun] = "hung"
            if done or (not more and not begun):
                return outcomes


class Namespace:
    """Words that run a program in a network namespace of the real kernel with an IPv4 loopback."""

    def __init__(self, name):
        self._name = name

    def __enter__(self):
        subprocess.run(["ip", "netns", "add", self._name], check=True)
        within = ["ip", "netns", "exec", self._name]
        try:
            subprocess.run([*within, "ip", "link", "set", "lo", "up"], check=True)
            subprocess.run([*within, "sh", "-c",
                            "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6"], check=True)
        except BaseException:
            self.__exit__()
            raise
        return within

    def __exit__(self, *_):
        subprocess.run(["ip", "netns", "delete", self._name], check=False)


def differences(module):
    """({case: outcome} of what passes on the kernel and not under `ph run`, what passes on both)"""
    with tempfile.TemporaryDirectory(prefix="ph-cpython-") as folder:
        places = [os.path.join(folder, name) for name in ("kernel", "ph", "again")]
        for place in places:
            os.mkdir(place)
        with Namespace(f"ph-py-{os.getpid()}-{module}"[-60:]) as within:
            kernel = run_module(within, module, places[0])
        under = [PH, "run", "--"]
        ours = run_module(under, module, places[1])
        wanted = [case for case, outcome in kernel.items() if outcome == "ok"]
        wrong = [case for case in wanted if ours.get(case) != "ok"]
        if wrong:
            for case, outcome in run_module(under, module, places[2], wrong).items():
                if outcome == "ok" or ours.get(case) != "hung":
                    ours[case] = outcome
        keep = os.environ.get("PH_KEEP")  # a folder for what was seen
        if keep:
            shutil.copytree(folder, os.path.join(keep, module), dirs_exist_ok=True)
            with open(os.path.join(keep, module, "outcomes"), "w", encoding="utf-8") as file:
                json.dump({"kernel": kernel, "ph": ours}, file, indent=1)
    passed = [case for case in wanted if ours.get(case) == "ok"]
    failed = {case: ours.get(case, "never began") for case in wanted if ours.get(case) != "ok"}
    return failed, passed


@unittest.skipUnless(os.geteuid() == 0, "network namespaces need root")
@unittest.skipUnless(os.path.isdir("/usr/lib/python3.11/test/test_asyncio"),
                     "libpython3.11-testsuite is not installed")
class CPythonTest(unittest.TestCase):
    """One case a module, added below."""

    def compare(self, module, found):
        known = {case: why for case, why in read_known().items()
                 if case.startswith(f"test.{module}.")}
        wrong, passed = found
        new = [f"{case}: {outcome}" for case, outcome in wrong.items() if case not in known]
        self.assertEqual(new, [], "passes on the kernel and not under ph run")
        exact = [case for case, why in known.items() if not why.startswith("sometimes: ")]
        self.assertEqual([case for case in passed if case in exact], [],
                         "passes now: take it out of cpython_known.tsv")
        self.assertGreater(len(passed) + len(wrong), 0, "no case passes on the kernel")


def add_cases(pool):
    """Begins all modules at once, a few at a time; each case waits for its own."""
    for module in sys.argv[1:] or MODULES:
        future = pool.submit(differences, module)
        setattr(CPythonTest, module, lambda self, m=module, f=future: self.compare(m, f.result()))


if __name__ == "__main__":
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        add_cases(pool)
        unittest.main(verbosity=2, argv=sys.argv[:1])

"""Runs the cases of one module of Python's own tests and tells of each in lines of a report: `begin
ID`, then `end ID OUTCOME` (ok, failed, skipped). Whoever started it sees how far it came, ends it
when a case hangs, and starts it again without the cases that it has heard of.

    run_cases.py REPORT MODULE [FILE_OF_CASES_TO_LEAVE_OUT [CASE...]]
"""

import sys
import unittest

from test import support


def cases_of(suite):
    """The single cases in a tree of suites."""
    for part in suite:
        if isinstance(part, unittest.TestSuite):
            yield from cases_of(part)
        else:
            yield part


class Reporter(unittest.TextTestResult):
    """Tells the report what became of each case. What says why goes to standard error, as ever."""

    report = None

    def startTest(self, test):
        super().startTest(test)
        self._outcome = "ok"
        self._tell("begin", test.id())

    def _tell(self, *words):
        self.report.write(" ".join(words) + "\n")
        self.report.flush()

    def _note(self, test, outcome):
        """`test` may be a whole class or module whose fixture failed: it has no begin."""
        if isinstance(test, unittest.TestCase):
            self._outcome = outcome
        else:
            self._tell("end", test.id().replace(" ", "_"), outcome)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._note(test, "failed")

    def addError(self, test, err):
        super().addError(test, err)
        self._note(test, "failed")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        if self._outcome != "failed":
            self._note(test, "skipped")

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._outcome = "failed"

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self._note(test, "failed")

    def stopTest(self, test):
        super().stopTest(test)
        self._tell("end", test.id(), self._outcome)


def main(report, module, left_out=None, *only):
    known = set()
    if left_out:
        with open(left_out, encoding="utf-8") as file:
            known = set(file.read().split())
    support.use_resources = ["network", "walltime"]  # none that needs much memory, or hours
    suite = unittest.defaultTestLoader.loadTestsFromName(module)
    wanted = [case for case in cases_of(suite)
              if case.id() not in known and (not only or case.id() in only)
              and "VSOCK" not in case.id()]  # of virtual machines; it hangs where there is none
    with open(report, "a", encoding="utf-8") as Reporter.report:
        unittest.TextTestRunner(stream=sys.stderr, verbosity=2, resultclass=Reporter).run(
            unittest.TestSuite(wanted))
        Reporter.report.write("done\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

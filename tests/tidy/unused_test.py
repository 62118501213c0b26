"""tools/unused.py and tools/drop_reasons.py find what they should in trees made for it."""

import os
import subprocess
import sys
import tempfile
import unittest

TOOLS = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
                     "tools")
DECLARED = {
    "src/net/own.h": 'inline constexpr drop_reason_info lost{\n    "lost", "It is lost."};\n',
    "src/net/own_mib.h": "enum own_counters : u16 {\n  seen = first_of_mib_group(4), "
                         "own_counters_end,\n};\n",
    "src/net/own_mib.cpp": 'constexpr mib_row rows[] = {{mib::seen, "OwnSeen"}};\n',
    "src/net/use.cpp": "void f() { drop(drop_reason::lost); add(mib::seen); }\n",
}


class ToolTest(unittest.TestCase):
    def run_tool(self, name, files, *words):
        """(exit code, output) of a tool on a tree of these files."""
        with tempfile.TemporaryDirectory() as root:
            for path, text in {**DECLARED, **files}.items():
                os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                    file.write(text)
            ran = subprocess.run([sys.executable, os.path.join(TOOLS, name), *words, root],
                                 capture_output=True, text=True)
        return ran.returncode, ran.stdout

    def test_nothing_to_find(self):
        self.assertEqual(self.run_tool("unused.py", {}), (0, ""))

    def test_a_field_that_nobody_uses(self):
        code, said = self.run_tool("unused.py", {"src/a.h": "struct a {\n  int lonely = 0;\n};\n"})
        self.assertEqual(code, 1)
        self.assertIn("src/a.h:2: nobody uses the field lonely", said)

    def test_a_field_that_is_only_written(self):
        code, said = self.run_tool("unused.py", {
            "src/a.h": "struct a {\n  int sunk = 0, read = 0;\n};\n",
            "src/a.cpp": "int f(a& x) {\n  x.sunk = 3;\n  ++x.sunk;\n  return x.read;\n}\n"})
        self.assertEqual(code, 1)
        self.assertIn("nobody reads the field sunk", said)
        self.assertNotIn("read;", said)
        self.assertNotIn("the field read", said)

    def test_a_setting_that_only_the_table_names(self):
        code, said = self.run_tool("unused.py", {
            "src/a.h": "struct a {\n  int knob = 0;\n};\n",
            "src/a.cpp": 'void f(a& x) { table.add("net.knob", x.knob, 0, 1); }\n'})
        self.assertEqual(code, 1)
        self.assertIn("nobody reads the field knob", said)

    def test_a_reason_and_a_counter_that_nothing_gives(self):
        code, said = self.run_tool("unused.py", {
            "src/net/use.cpp": "u64 f() { return drops(drop_reason::lost); }\n"})
        self.assertEqual(code, 1)
        self.assertIn("drop_reason::lost", said)
        self.assertIn("mib::seen", said)

    def test_a_reason_that_no_test_names(self):
        code, said = self.run_tool("drop_reasons.py", {}, "--check")
        self.assertEqual(code, 1)
        self.assertIn("no test names drop_reason::lost", said)
        _, said = self.run_tool("drop_reasons.py", {
            "src/net/other.h": DECLARED["src/net/own.h"]}, "--check")
        self.assertIn("two subsystems declare drop_reason::lost", said)
        _, said = self.run_tool("drop_reasons.py", {"tests/a_test.cpp": "drop_reason::lost"},
                                "--check")
        self.assertNotIn("no test names", said)


if __name__ == "__main__":
    unittest.main()

"""That the project's rules (tools/tidy.py) find what they should, and nothing else."""

import os
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "tools"))

import tidy  # noqa: E402

HEAD = "// A file of a test.\n"


class TidyTest(unittest.TestCase):
    def violations(self, files):
        """What tidy says of a tree with these files, as "path:line: what" strings."""
        with tempfile.TemporaryDirectory() as root:
            for path, text in files.items():
                full = os.path.join(root, path)
                os.makedirs(os.path.dirname(full), exist_ok=True)
                with open(full, "w", encoding="utf-8") as file:
                    file.write(text)
            return [f"{path}:{line}: {what}" for path, line, what in tidy.check_tree(root)]

    def of(self, path, code):
        """What tidy says of one file, which has its head comment on line 1."""
        return self.violations({path: HEAD + code})

    def assert_clean(self, path, code):
        self.assertEqual(self.of(path, code), [])

    def assert_found(self, path, code, text, line=2):
        found = self.of(path, code)
        self.assertEqual(len(found), 1, found)
        self.assertTrue(found[0].startswith(f"{path}:{line}: "), found)
        self.assertIn(text, found[0])


class IncludeTest(TidyTest):
    def test_the_layers_follow_their_table(self):
        for path, include in (("kernel/cpu.cpp", "net/core/skbuff.h"),
                              ("base/x.cpp", "uapi/socket.h"),
                              ("wire/tcp.cpp", "kernel/cpu.h"),
                              ("net/core/sock.cpp", "net/ipv4/route.h"),
                              ("net/ipv4/route.cpp", "net/tcp/tcp.h"),
                              ("net/ipv4/route.cpp", "net/ipv6/route.h"),
                              ("net/tcp/tcp_input.cpp", "net/ipv4/route.h"),
                              ("net/socket/syscall.cpp", "net/tcp/tcp.h"),
                              ("drivers/net/loopback.cpp", "platform/poller.h"),
                              ("sim/world.cpp", "daemon/lab.h"),
                              ("init/builtin.cpp", "sim/world.h"),
                              ("daemon/main.cpp", "cli/verb.h")):
            with self.subTest(path=path, include=include):
                self.assert_found(f"src/{path}", f'#include "{include}"\n', "may not include")

    def test_the_exceptions_of_the_table_hold(self):
        for path, include in (("net/tcp/tcp_ipv4.cpp", "net/ipv4/route.h"),
                              ("net/ipv4/route_netlink.cpp", "net/netlink/nlattr.h"),
                              ("drivers/net/tap.cpp", "platform/poller.h"),
                              ("net/netfilter/nft_fib.cpp", "net/ipv4/fib.h"),
                              ("shim/preload.cpp", "daemon/protocol.h"),
                              ("shim/preload.cpp", "platform/passed_fd.h"),
                              ("net/tcp/tcp.cpp", "net/tcp/tcp.h")):
            with self.subTest(path=path, include=include):
                self.assert_clean(f"src/{path}", f'#include "{include}"\n')

    def test_programs_share_only_the_protocol_with_the_daemon(self):
        for path in ("src/shim/preload.cpp", "src/calls/io.cpp"):
            self.assert_found(path, '#include "daemon/lab.h"\n', "only the protocol")
            self.assert_clean(path, '#include "daemon/protocol.h"\n')

    def test_the_meaning_of_calls_does_not_know_the_shim(self):
        self.assert_clean("src/shim/x.cpp", '#include "calls/io.h"\n')
        self.assert_found("src/calls/x.cpp", '#include "shim/next.h"\n', "may not include")

    def test_headers_cannot_cheat(self):
        found = self.violations({"src/base/a.h": HEAD + '#include "kernel/cpu.h"\n',
                                 "src/base/a.cpp": HEAD + '#include "base/a.h"\n'})
        self.assertEqual(found, ["src/base/a.h:2: base may not include kernel (kernel/cpu.h)"])

    def test_a_new_folder_needs_a_place_in_the_table(self):
        self.assert_found("src/misc/x.cpp", "int f();\n", "is no layer", line=1)
        self.assert_found("src/kernel/x.cpp", '#include "cpu.h"\n', "spelled from src/")

    def test_system_headers_stay_outside_the_core(self):
        for header in ("sys/socket.h", "unistd.h", "linux/if.h", "time.h", "pthread.h"):
            with self.subTest(header=header):
                self.assert_found("src/net/core/x.cpp", f"#include <{header}>\n", "system header")
                self.assert_found("src/sim/x.cpp", f"#include <{header}>\n", "system header")
                for allowed in ("platform/x.cpp", "daemon/x.cpp", "shim/x.cpp",
                                "drivers/net/tap.cpp"):
                    self.assert_clean(f"src/{allowed}", f"#include <{header}>\n")

    def test_libraries_stay_with_those_who_need_them(self):
        self.assert_clean("src/base/x.cpp", "#include <fmt/format.h>\n#include <vector>\n")
        self.assert_clean("src/daemon/x.cpp", "#include <yaml-cpp/yaml.h>\n")
        self.assert_found("src/net/tcp/x.cpp", "#include <nlohmann/json.hpp>\n", "library header")


class WordTest(TidyTest):
    def test_each_banned_word_is_found(self):
        for code in ("std::unordered_map<int, int> f();",
                     "void f() { std::mutex m; }",
                     "void f() { std::lock_guard g(m); }",
                     "void f() { pthread_mutex_lock(&m); }",
                     "void f() { thread_local int x = 0; }",
                     "auto f() { return std::chrono::steady_clock::now(); }",
                     "long f() { return time(nullptr); }",
                     "void f() { std::this_thread::sleep_for(d); }",
                     "int f() { return rand(); }",
                     "int f() { return std::random_device()(); }",
                     "int f(base* b) { return dynamic_cast<derived*>(b)->x; }",
                     "void f() { throw 1; }",
                     'void f() { printf("x"); }',
                     'void f() { std::cerr << "x"; }',
                     "int* f() { return new int(5); }",
                     "void f(int* p) { delete p; }"):
            with self.subTest(code=code):
                self.assertEqual(len(self.of("src/net/tcp/x.cpp", code + "\n")), 1,
                                 self.of("src/net/tcp/x.cpp", code + "\n"))

    def test_comments_strings_and_longer_words_are_no_violation(self):
        for code in ("// a mutex would be wrong here; rand() too",
                     "/* new and\n   delete */",
                     'const char* f() { return "new mutex"; }',
                     'const char* f() { return R"(throw rand())"; }',
                     "int brand(); int operand(int); void retry_later();",
                     "struct a { a(const a&) = delete; };",
                     "void f(void* p) { new (p) int(5); }",
                     "void* operator new(unsigned long);",
                     "std::unique_ptr<a> make() { return std::unique_ptr<a>(new a(1)); }",
                     "int f() { return 1'000'000; }  // 'new'",
                     "#include <mutex>"):
            with self.subTest(code=code):
                self.assert_clean("src/net/tcp/x.cpp", code + "\n")

    def test_the_places_where_words_are_allowed(self):
        self.assert_clean("src/platform/x.cpp", "void f() { std::mutex m; clock_gettime(0, p); }\n")
        self.assert_clean("src/kernel/mailbox.cpp", "void f() { std::mutex m; }\n")
        self.assert_clean("src/shim/x.cpp", "thread_local int depth = 0;\n")
        self.assert_clean("src/sim/recovery.cpp", "thread_local int depth = 0;\n")
        self.assert_clean("src/daemon/memory_reserve.cpp", "object* serving = nullptr;\n")
        self.assert_found("src/sim/x.cpp", "void f() { thread_local int d = 0; }\n", "thread-local")
        self.assert_clean("src/daemon/x.cpp", "void f() { throw 1; }\n")
        self.assert_found("src/sim/x.cpp", "auto f() { return steady_clock::now(); }\n", "clock")
        self.assert_found("src/kernel/cpu.cpp", "void f() { std::mutex m; }\n", "lock")

    def test_what_calls_mean_is_decided_without_the_own_process(self):
        for code in ("int f() { return errno; }",
                     "long f(int fd) { return next::recv(fd, nullptr, 0, 0); }",
                     "long f() { return raw::call(1); }",
                     "long f() { return ::syscall(1); }",
                     'void* f() { return dlsym(nullptr, "recv"); }',
                     "static int uses = 0;"):
            with self.subTest(code=code):
                self.assertEqual(len(self.of("src/calls/x.cpp", code + "\n")), 1)
        self.assert_clean("src/shim/x.cpp", "long f() { return raw::call(errno); }\n")
        self.assert_clean("src/calls/x.cpp", "long f(caller& c) { return c.kernel(1); }\n")

    def test_unfinished_work_is_found_everywhere(self):
        for word in ("TO" "DO", "FIX" "ME", "X" "XX"):
            self.assert_found("src/base/x.cpp", f"// {word}: later\n", "unfinished")
            self.assertEqual(len(self.violations({"tools/x.py": f"# {word}\n"})), 1)
            self.assertEqual(len(self.violations({"docs/x.md": f"{word}: write this\n"})), 1)
        self.assert_clean("src/daemon/x.cpp", 'auto f() { return mkdtemp("/tmp/a-XXXXXX"); }\n')


class StateTest(TidyTest):
    def test_mutable_statics_and_globals_are_found(self):
        for code in ("static int counter = 0;", "static std::vector<int> all;",
                     "void f() {\n  static int calls = 0;\n}",
                     "struct a {\n  static int shared;\n};",
                     "int counter = 0;", "std::map<int, int> table;", "inline int shared{0};",
                     "kernel* current;", "int table[16];", "constinit int x = 1;"):
            with self.subTest(code=code):
                found = self.of("src/net/core/x.cpp", code + "\n")
                self.assertEqual(len(found), 1, found)
                self.assertIn("mutable state", found[0])

    def test_constants_functions_and_declarations_are_no_state(self):
        for code in ("static constexpr int limit = 5;", "constexpr int table[] = {1, 2};",
                     "inline constexpr int x = 1;", "static const char* const names[] = {};",
                     "static int twice(int x) { return 2 * x; }", "struct a;", "class b;",
                     "enum class c : int;", "using d = int;", "namespace e = f;",
                     "int g(int x);", "struct h {\n  int field = 0;\n};",
                     "struct i {\n  static i make(int x);\n};", "static_assert(sizeof(int) == 4);",
                     "void f() {\n  int local = 0;\n}", "template <class T>\nclass j;",
                     "extern template class j<int>;", "const int k = 5;"):
            with self.subTest(code=code):
                self.assert_clean("src/net/core/x.cpp", code + "\n")


class SizeTest(TidyTest):
    BODY = "  work();\n"

    def test_a_function_fits_a_screen(self):
        for head in ("void f(int a = 1) {", "int type::member() const {",
                     "auto f() -> std::vector<int> {", "bool operator==(const a& x) {",
                     "type::type(int a)\n    : a_{a}, b_(2), c_{3} {",
                     "template <class T>\nvoid f(T x) {", "TEST(area, case) {",
                     "namespace a {\nvoid f() {", "struct a {\nvoid f() {"):
            with self.subTest(head=head):
                lines = 68 - head.count("\n") + self.scopes(head)
                self.assertEqual(self.sized(head, lines), [])
                found = self.sized(head, lines + 1)
                self.assertEqual(len(found), 1, found)
                self.assertIn("has 71 lines", found[0])

    @staticmethod
    def scopes(head):
        return int(head.startswith(("namespace", "struct")))

    def sized(self, head, lines):
        return self.of("src/net/tcp/x.cpp",
                       f"{head}\n{self.BODY * lines}}}\n" + "}\n" * self.scopes(head))

    def test_a_long_table_class_or_namespace_is_no_function(self):
        for head, tail in (("constexpr int table[] = {", "};"), ("struct a {", "};"),
                           ("enum class a {", "};"), ("namespace a {", "}"),
                           ("const std::map<int, int> table{", "};")):
            with self.subTest(head=head):
                rows = "  // row\n" * 100
                self.assert_clean("src/net/tcp/x.cpp", f"{head}\n{rows}{tail}\n")

    def test_two_short_functions_are_not_one_long(self):
        half = "{\n" + self.BODY * 40 + "}\n"
        self.assert_clean("src/net/tcp/x.cpp", f"void f() {half}void g() {half}")

    def test_columns_count_characters_not_bytes(self):
        self.assert_clean("src/base/x.cpp", "//" + "é" * 98 + "\n")
        self.assert_found("src/base/x.cpp", "//" + "x" * 99 + "\n", "101 columns")
        self.assertEqual(self.violations({"tools/x.sh": "#" + "x" * 100 + "\n"}),
                         ["tools/x.sh:1: 101 columns; at most 100"])

    def test_a_file_has_at_most_1200_lines(self):
        self.assert_clean("src/base/x.cpp", "//\n" * 1199)
        self.assertIn("1201 lines", self.of("src/base/x.cpp", "//\n" * 1200)[0])

    def test_white_space_at_the_end_is_found(self):
        self.assert_found("src/base/x.cpp", "int f(); \n", "white space")


class FileTest(TidyTest):
    def test_every_file_says_what_it_is(self):
        for path, text in (("src/base/x.cpp", '#include "base/x.h"\n'),
                           ("src/base/x.cpp", "\n// late\n"), ("tools/x.py", "import os\n"),
                           ("tools/x.sh", "#!/bin/sh\nexit\n")):
            with self.subTest(path=path):
                found = self.violations({path: text})
                self.assertTrue(any("no head comment" in f for f in found), found)
        self.assertEqual(self.violations({"tools/x.sh": "#!/bin/sh\n# Says.\nexit\n"}), [])

    def test_a_header_that_nobody_includes_is_dead(self):
        found = self.violations({"src/base/a.h": HEAD, "src/base/b.h": HEAD,
                                 "tests/base/b_test.cpp": HEAD + '#include "base/b.h"\n'})
        self.assertEqual(found, ["src/base/a.h:1: no file includes this header"])

    def test_rare_branches_and_their_list_agree(self):
        marked = HEAD + 'void f(cpu& cx) { cx.sometimes("seen"); }\n'
        listed = HEAD + 'inline constexpr std::array all{std::string_view("%s")};\n'
        user = HEAD + '#include "sim/rare_branches.h"\n'
        tree = {"src/net/tcp/x.cpp": marked, "src/sim/user.cpp": user}
        self.assertEqual(self.violations({**tree, "src/sim/rare_branches.h": listed % "seen"}), [])
        found = self.violations({**tree, "src/sim/rare_branches.h": listed % "other"})
        self.assertEqual(len(found), 2, found)
        self.assertIn("seen is not in", found[0])
        self.assertIn("other marks no branch", found[1])

    def test_markdown_links_lead_somewhere(self):
        found = self.violations({
            "README.md": "# Top\n[a](docs/a.md) [b](docs/b.md) [c](docs/a.md#two-words)\n"
                         "[d](docs/a.md#three) [e](#top) [f](https://example.org/x)\n"
                         "`[g](nowhere.md)`\n",
            "docs/a.md": "# One\n## Two words\n[up](../README.md)\n"})
        self.assertEqual(found, ["README.md:2: link to docs/b.md, which does not exist",
                                 "README.md:3: link to docs/a.md#three: no such heading"])

    def test_the_build_folder_is_not_ours(self):
        self.assertEqual(self.violations({"build/x.cpp": "bad \n"}), [])


if __name__ == "__main__":
    unittest.main()

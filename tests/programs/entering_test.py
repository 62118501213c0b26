"""The shim is in every program, or the program is refused with 126 and a sentence: at `ph run`, and
at whatever its programs start."""

import os
import shutil
import subprocess
import tempfile
import unittest

import lib

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")

# Prints the address of a listener: it works only on a host of the lab.
PROBE = """
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <errno.h>
int main(int argc, char **argv) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(7)};
  inet_pton(AF_INET, "10.0.0.1", &a.sin_addr);
  int s = socket(AF_INET, SOCK_STREAM, 0);
  if (s < 0 || bind(s, (struct sockaddr *)&a, sizeof a)) printf("%s\\n", strerror(errno));
  else printf("in the lab:%s", argv[0]);
  for (int i = 1; i < argc; ++i) printf(" %s", argv[i]);
  puts("");
}
"""

# What Go's linker leaves in a program.
GO_NOTE = """
__asm__(".section .note.go.buildid,\\"a\\",@note\\n.long 4, 4, 4\\n.ascii \\"Go\\\\0\\\\0abcd\\"\\n"
        ".text");
"""

CLEARS = """
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <sys/syscall.h>
int main(int argc, char **argv) {
  char *program = argv[2], *words[] = {"probe", NULL}, *nothing[] = {NULL}, line[200];
  if (strcmp(argv[1], "system") == 0) return WEXITSTATUS(clearenv() + system(program));
  if (strcmp(argv[1], "popen") == 0) {
    clearenv();
    FILE *in = popen(program, "r");
    while (fgets(line, sizeof line, in)) fputs(line, stdout);
    return WEXITSTATUS(pclose(in));
  }
  if (strcmp(argv[1], "execve") == 0) execve(program, words, nothing);
  if (strcmp(argv[1], "syscall") == 0) syscall(SYS_execve, program, words, nothing);
  if (strcmp(argv[1], "fexecve") == 0) fexecve(open(program, O_PATH | O_CLOEXEC), words, nothing);
  if (strcmp(argv[1], "execveat") == 0) {
    char *slash = strrchr(program, '/');
    *slash = 0;
    execveat(open(program, O_PATH | O_DIRECTORY), slash + 1, words, nothing, 0);
  }
  if (strcmp(argv[1], "vfork") == 0) {
    if (vfork() == 0) {
      execve(program, words, nothing);
      _exit(126);
    }
    int status;
    wait(&status);
    return WEXITSTATUS(status);
  }
  if (strcmp(argv[1], "spawn") == 0) {
    pid_t child;
    int error = posix_spawn(&child, program, NULL, NULL, words, nothing), status = 0;
    if (error) return error == 13 ? 126 : 1;
    waitpid(child, &status, 0);
    return WEXITSTATUS(status);
  }
  return 126;
}
"""
WAYS = ("system", "popen", "execve", "syscall", "fexecve", "execveat", "vfork", "spawn")


def compile_c(folder, name, source, *options):
    path = os.path.join(folder, name)
    subprocess.run(["gcc", "-O1", "-w", "-x", "c", "-o", path, "-", *options], input=source,
                   text=True, check=True)
    return path


class ProgramsTest(lib.LabTest):
    """Programs to start, and `self.lab` to start them in."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="ph-test-")
        cls.addClassCleanup(folder.cleanup)
        os.chmod(folder.name, 0o755)
        cls.folder = folder.name
        cls.probe = compile_c(cls.folder, "probe", PROBE)
        cls.clears = compile_c(cls.folder, "clears", CLEARS)

    def path(self, name):
        return os.path.join(self.folder, name)

    def remove_copies(self):
        for link in os.listdir(self.path("posthaste")):
            copy = os.path.realpath(self.path(os.path.join("posthaste", link)))
            if "posthaste-shim-" in copy:
                shutil.rmtree(os.path.dirname(copy), ignore_errors=True)

    def assert_refused(self, program, sentence):
        """At `ph run`, from a shell, and by every way of starting a program."""
        done = self.lab.run("alice", program, check=False)
        self.assertEqual((done.returncode, done.stdout), (126, ""), done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1)
        self.assertRegex(done.stderr, rf"^ph: {program} .*{sentence}")
        done = self.lab.run("alice", "sh", "-c", f"{program}; exit $?", check=False)
        self.assertEqual((done.returncode, done.stdout), (126, ""), done.stderr)
        self.assertRegex(done.stderr, rf"(?m)^ph: {program} .*{sentence}")
        for way in WAYS:
            with self.subTest(way=way, program=os.path.basename(program)):
                done = self.lab.run("alice", self.clears, way, program, check=False)
                self.assertNotEqual(done.returncode, 0)
                self.assertEqual(done.stdout, "")
                self.assertRegex(done.stderr, sentence)


class EnteringTest(ProgramsTest):
    def setUp(self):
        self.lab = self.start_lab(lib.TWO_HOSTS)

    def test_what_the_shim_cannot_enter_is_refused(self):
        static = compile_c(self.folder, "static", PROBE, "-static")
        self.assert_refused(static, "is statically linked: .*use a dynamically linked build")
        go = compile_c(self.folder, "go", GO_NOTE + PROBE)
        self.assert_refused(go, "is a Go program: ")
        other = compile_c(self.folder, "other", PROBE,
                          "-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1")
        self.assert_refused(other, "another C library than glibc: ")
        small = shutil.copy(self.probe, self.path("small"))
        with open(small, "r+b") as file:
            file.seek(4)
            file.write(b"\1")  # ELFCLASS32
        self.assert_refused(small, "32 bits: ")
        script = self.path("script")
        with open(script, "w", encoding="utf-8") as out:
            out.write(f"#! {static} -x\n")
        os.chmod(script, 0o755)
        self.assert_refused(script, f"is run by {static}, which is statically linked: ")

    def test_an_emptied_environment_is_filled_again(self):
        for way in WAYS:
            with self.subTest(way=way):
                done = self.lab.run("alice", self.clears, way, self.probe)
                self.assertRegex(done.stdout, r"^in the lab:\S*probe\n$", done.stderr)
        out = self.lab.run("alice", "env", "-i", self.probe, "1").stdout
        self.assertEqual(out, f"in the lab:{self.probe} 1\n")

    def test_a_program_may_start_others_in_another_lab(self):
        other = self.start_lab(lib.TWO_HOSTS)
        out = self.lab.run("bob", lib.PH, "run", "--socket", other.socket, "--host", "alice", "--",
                           self.probe).stdout
        self.assertEqual(out, f"in the lab:{self.probe}\n")

    def test_the_loader_itself_is_no_static_program(self):
        self.assertIn("libc.so.6", self.lab.run("alice", "ldd", self.probe).stdout)

    def test_a_library_path_that_ld_preload_cannot_hold(self):
        place = self.path("a dir: $LIB ü")
        os.makedirs(place, exist_ok=True)
        for name in ("ph", "libph_preload.so"):
            shutil.copy(os.path.join(os.path.dirname(lib.PH), name), place)
        words = [os.path.join(place, "ph"), "run", "--socket", self.lab.socket, "--host", "alice",
                 "--", "sh", "-c", f"env -i {self.probe}"]
        self.addCleanup(self.remove_copies)
        done = subprocess.run(words, capture_output=True, text=True, timeout=lib.PATIENCE_S,
                              env={**os.environ, "XDG_RUNTIME_DIR": self.folder})
        self.assertEqual((done.returncode, done.stdout), (0, f"in the lab:{self.probe}\n"),
                         done.stderr)


@unittest.skipUnless(os.geteuid() == 0, "needs root: file capabilities and other users")
class OtherUserTest(ProgramsTest):
    def setUp(self):
        """A lab of an ordinary user: for root, capabilities of files are no matter."""
        place = tempfile.TemporaryDirectory(prefix="ph-test-")
        self.addCleanup(place.cleanup)
        os.chown(place.name, 65534, 65534)
        self.lab = lib.Lab(lib.TWO_HOSTS, place.name, NOBODY)
        self.addCleanup(self.lab.close)

    def with_capabilities(self, name, source, mode=0o755):
        path = compile_c(self.folder, name, source)
        os.chmod(path, mode)
        subprocess.run(["setcap", "cap_net_raw+ep", path], check=True)
        return path

    def test_programs_with_file_capabilities_work(self):
        capable = self.with_capabilities("capable", PROBE)
        self.assertEqual(self.lab.run("alice", capable, "1", "2").stdout,
                         f"in the lab:{capable} 1 2\n")
        name = self.with_capabilities("named", '#include <stdio.h>\nint main() { char b[20]; '
                                      'puts(fgets(b, 20, fopen("/proc/self/comm", "r"))); }')
        self.assertEqual(self.lab.run("alice", name).stdout.strip(), "named")
        for way in WAYS:
            with self.subTest(way=way):
                done = self.lab.run("alice", self.clears, way, capable)
                self.assertRegex(done.stdout, r"^in the lab:\S*(probe|capable)\n$", done.stderr)

    def test_scripts_of_such_an_interpreter_work(self):
        capable = self.with_capabilities("interpreter", PROBE)
        script = self.path("script of it")
        with open(script, "w", encoding="utf-8") as out:
            out.write(f"#!{capable} an argument\n")
        os.chmod(script, 0o755)
        expected = f"in the lab:{capable} an argument {script} 1\n"
        self.assertEqual(self.lab.run("alice", script, "1").stdout, expected)
        self.assertEqual(self.lab.run("alice", "sh", "-c", f"'{script}' 1").stdout, expected)

    def test_capable_and_not_readable_is_refused(self):
        capable = self.with_capabilities("unreadable", PROBE, 0o711)
        self.assert_refused(capable, "has file capabilities and cannot be read: ")

    def test_ping_of_an_ordinary_user(self):
        for words in (["ping", "-c", "1", "-W", "9", "10.0.0.2"],
                      ["sh", "-c", "ping -c 1 -W 9 bob"]):
            self.assertIn(" 1 received", self.lab.run("alice", *words).stdout)

    def test_set_user_id_programs_work(self):
        path = compile_c(self.folder, "setuid", PROBE)
        os.chmod(path, 0o4755)
        self.assertEqual(self.lab.run("alice", path).stdout, f"in the lab:{path}\n")
        self.assertEqual(self.lab.run("alice", "sh", "-c", path).stdout, f"in the lab:{path}\n")

    def become_nobody(self, mode, *before):
        """Root's program becomes somebody else; the library lies in a folder of this mode."""
        place = self.path("private")
        os.makedirs(place, exist_ok=True)
        os.chmod(place, mode)
        for name in ("ph", "libph_preload.so"):
            shutil.copy(os.path.join(os.path.dirname(lib.PH), name), place)
        lab = self.start_lab(lib.TWO_HOSTS)
        self.addCleanup(self.remove_copies)
        return subprocess.run([os.path.join(place, "ph"), "run", "--socket", lab.socket, "--host",
                               "alice", "--", *before, *NOBODY, self.probe], capture_output=True,
                              text=True, timeout=lib.PATIENCE_S,
                              env={**os.environ, "XDG_RUNTIME_DIR": self.folder})

    def test_a_library_that_a_user_cannot_read_is_said(self):
        done = self.become_nobody(
            0o755, "sh", "-c", 'chmod 700 "${LD_PRELOAD%/*}"; exec "$0" "$@"')
        self.assertEqual((done.returncode, done.stdout), (126, ""), done.stderr)
        self.assertIn(f"ph: {self.probe} would have no network: the lab's library cannot be read",
                      done.stderr)

    def test_a_library_in_a_private_folder_is_copied(self):
        done = self.become_nobody(0o700)
        self.assertEqual((done.returncode, done.stdout), (0, f"in the lab:{self.probe}\n"))


if __name__ == "__main__":
    lib.main()

// What files are to the loader, told from their bytes, however damaged these are.
#include "platform/program_file.h"

#include <elf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "tests/support/temp_folder.h"

namespace ph {
namespace {

class program_file_test : public testing::Test {
 protected:
  std::string put(const std::string& name, const std::string& bytes) {
    const std::string path = folder_ + "/" + name;
    std::ofstream(path, std::ios::binary) << bytes;
    ::chmod(path.c_str(), 0755);
    return path;
  }
  static program_file inspect(const std::string& path) {
    program_file out;
    inspect_program(AT_FDCWD, path.c_str(), out);
    return out;
  }
  preload_reach reach_of(const std::string& bytes) { return inspect(put("x", bytes)).reach; }

  const temp_folder made_;
  const std::string& folder_ = made_.path;
};

template <class T>
void append(std::string& to, const T& value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

/// An ELF file with one segment of the type and content.
std::string elf(u_int32_t segment, const std::string& content) {
  Elf64_Ehdr head{};
  std::memcpy(head.e_ident, ELFMAG, SELFMAG);
  head.e_ident[EI_CLASS] = ELFCLASS64;
  head.e_type = ET_DYN;
#if defined(__x86_64__)
  head.e_machine = EM_X86_64;
#else
  head.e_machine = EM_AARCH64;
#endif
  head.e_phoff = sizeof head;
  head.e_phnum = 1;
  head.e_phentsize = sizeof(Elf64_Phdr);
  Elf64_Phdr one{};
  one.p_type = segment;
  one.p_offset = sizeof head + sizeof one;
  one.p_filesz = content.size();
  std::string out;
  append(out, head);
  append(out, one);
  return out + content;
}

const std::string loader("/lib64/ld-linux-x86-64.so.2\0", 28);

TEST_F(program_file_test, elf_files) {
  EXPECT_EQ(reach_of(elf(PT_INTERP, loader)), preload_reach::reached);
  EXPECT_STREQ(inspect(put("x", elf(PT_INTERP, loader))).loader, loader.c_str());
  EXPECT_EQ(reach_of(elf(PT_LOAD, "")), preload_reach::not_dynamic);
  EXPECT_EQ(reach_of(elf(PT_INTERP, std::string("/lib/ld-musl-x86_64.so.1\0", 25))),
            preload_reach::other_loader);
  EXPECT_EQ(reach_of(elf(PT_NOTE, std::string("\4\0\0\0\4\0\0\0\4\0\0\0Go\0\0abcd", 20))),
            preload_reach::go);
  std::string small = elf(PT_INTERP, loader);
  small[EI_CLASS] = ELFCLASS32;
  EXPECT_EQ(reach_of(small), preload_reach::other_machine);
  EXPECT_EQ(inspect("/lib64/ld-linux-x86-64.so.2").reach, preload_reach::reached);
}

TEST_F(program_file_test, what_is_no_program) {
  errno = 77;
  EXPECT_EQ(reach_of(""), preload_reach::unknown);
  EXPECT_EQ(reach_of("#"), preload_reach::unknown);
  EXPECT_EQ(reach_of("#!"), preload_reach::unknown);
  EXPECT_EQ(reach_of("#!  \n"), preload_reach::unknown);
  EXPECT_EQ(reach_of("echo no first line\n"), preload_reach::unknown);
  EXPECT_EQ(inspect(folder_).reach, preload_reach::unknown);
  EXPECT_EQ(inspect(folder_ + "/nothing").reach, preload_reach::unknown);
  ASSERT_EQ(::mkfifo((folder_ + "/fifo").c_str(), 0777), 0);
  EXPECT_EQ(inspect(folder_ + "/fifo").reach, preload_reach::unknown) << "and did not wait";
  EXPECT_EQ(errno, 77);
}

TEST_F(program_file_test, scripts_are_followed_as_exec_does) {
  const std::string program = put("program", elf(PT_INTERP, loader));
  const std::string inner = put("inner", "#!" + program + "\n");
  const std::string outer = put("outer", "#! \t" + inner + "  -a  b \n");
  const program_file file = inspect(outer);
  EXPECT_EQ(file.reach, preload_reach::reached);
  ASSERT_EQ(file.levels, 2u);
  EXPECT_STREQ(file.scripts[0].argument(), "-a  b");
  EXPECT_STREQ(program_of(file, outer.c_str()), program.c_str());
  char zero[] = "zero", one[] = "one";
  char* argv[] = {zero, one, nullptr};
  std::vector<const char*> words(2 + loader_words);
  loader_arguments(file, outer.c_str(), argv, words.data());
  const std::vector<std::string> expected{loader.c_str(), "--argv0", program, program,
                                          inner,          "-a  b",   outer,   "one"};
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(words[i], expected[i]) << i;
  EXPECT_EQ(words[expected.size()], nullptr);
}

TEST_F(program_file_test, a_script_that_runs_itself_ends) {
  const std::string path = folder_ + "/x";
  EXPECT_EQ(reach_of("#!" + path + "\n"), preload_reach::unknown);
  EXPECT_EQ(inspect(path).levels, program_file::most_levels);
  EXPECT_EQ(reach_of("#!/" + std::string(5000, 'y') + "\n"), preload_reach::unknown);
}

/// Nothing may be read or written out of bounds (sanitizers look), and every answer is one.
TEST_F(program_file_test, damaged_files) {
  const std::string whole =
      elf(PT_INTERP, loader) + elf(PT_NOTE, std::string("\4\0\0\0\4\0\0\0\4\0\0\0Go\0\0abcd", 20));
  for (std::size_t len = 0; len < whole.size(); ++len) reach_of(whole.substr(0, len));
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    std::string bytes = whole;
    for (int changes = 0; changes < 4; ++changes) {
      const std::size_t at = SELFMAG + random() % (bytes.size() - SELFMAG);
      bytes[at] = static_cast<char>(random() % 3 == 0 ? 0xff : random());
    }
    const program_file file = inspect(put("x", bytes));
    EXPECT_LE(static_cast<unsigned>(file.reach), static_cast<unsigned>(preload_reach::changed_ids));
    EXPECT_LT(::strnlen(file.loader, sizeof file.loader), sizeof file.loader);
  }
}

}  // namespace
}  // namespace ph

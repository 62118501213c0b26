# Precompiled headers: what almost every file includes of the C++ library, Boost, fmt and
# GoogleTest, and nothing of our own, so that they are never rebuilt. Targets that share one must
# be compiled with the same flags. Clang uses none: its fuzz targets and `./ph lint` show a file
# that forgets an #include.
option(PH_PRECOMPILE "Use precompiled headers" ON)
if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(PH_PRECOMPILE OFF)
endif()

set(PH_LIBRARY_HEADERS
    <algorithm> <array> <bit> <cerrno> <cstddef> <cstdint> <cstring> <functional> <map> <memory>
    <optional> <span> <string> <string_view> <utility> <variant> <vector>
    <boost/intrusive/list.hpp> <boost/intrusive/set.hpp> <fmt/format.h> <tl/expected.hpp>)
set(PH_TEST_HEADERS ${PH_LIBRARY_HEADERS} <gmock/gmock.h> <gtest/gtest.h>)

# ph_precompiled(KIND OPTIONS o... HEADERS h... LINKS l...): the header that targets of a KIND
# share. It belongs to a target of its own, so that those who use it wait for nothing else.
function(ph_precompiled kind)
  cmake_parse_arguments(P "" "" "OPTIONS;HEADERS;LINKS" ${ARGN})
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/precompiled/${kind}.cpp CONTENT "")
  add_library(precompiled_${kind} OBJECT ${CMAKE_BINARY_DIR}/precompiled/${kind}.cpp)
  target_compile_options(precompiled_${kind} PRIVATE ${P_OPTIONS})
  target_link_libraries(precompiled_${kind} PRIVATE ${P_LINKS})
  target_precompile_headers(precompiled_${kind} PRIVATE ${P_HEADERS})
endfunction()

# ph_precompile(TARGET KIND): the target is compiled with the header of that kind.
function(ph_precompile target kind)
  if(TARGET precompiled_${kind})
    target_precompile_headers(${target} REUSE_FROM precompiled_${kind})
  endif()
endfunction()

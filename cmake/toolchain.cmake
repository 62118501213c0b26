# Language level, warnings, ccache, mold and sanitizers: the same for every target.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()

find_program(PH_CCACHE ccache)
if(PH_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
      CCACHE_DEPEND=1
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      ${PH_CCACHE})
endif()
find_program(PH_MOLD mold)
if(PH_MOLD AND NOT PH_BUILD_FUZZ)
  add_link_options(-fuse-ld=mold)
endif()

add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wall> $<$<COMPILE_LANGUAGE:CXX>:-Wextra>
                    $<$<COMPILE_LANGUAGE:CXX>:-Wshadow> $<$<COMPILE_LANGUAGE:CXX>:-Wconversion>)
# GCC's thread sanitizer and coverage for the fuzzer bring warnings of their own.
if(NOT PH_SANITIZE STREQUAL "thread" AND NOT PH_BUILD_FUZZ)
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
add_compile_options(-fno-omit-frame-pointer)
if(CMAKE_BUILD_TYPE STREQUAL "Debug")
  add_compile_definitions(PH_DEBUG=1)
endif()
if(PH_SANITIZE)
  add_compile_options(-fsanitize=${PH_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${PH_SANITIZE})
endif()
if(PH_BUILD_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
  add_link_options(-fsanitize=address,undefined)
endif()
include_directories(${CMAKE_SOURCE_DIR}/src)

# The standard library takes most of the time that a file takes to compile: read it once. Sources
# still include what they use. The first target of a kind compiles it, the others reuse it.
set(CMAKE_PCH_WARN_INVALID OFF)
function(ph_precompile target kind)
  get_property(first GLOBAL PROPERTY ph_precompiled_${kind})
  if(first)
    target_precompile_headers(${target} REUSE_FROM ${first})
  else()
    target_precompile_headers(${target} PRIVATE <algorithm> <array> <chrono> <concepts> <functional>
                              <map> <memory> <optional> <span> <string> <string_view> <utility>
                              <variant> <vector> <fmt/format.h> ${ARGN})
    set_property(GLOBAL PROPERTY ph_precompiled_${kind} ${target})
  endif()
endfunction()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)  # for ccache
endif()

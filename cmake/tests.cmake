# tests/<area>/*_test.cpp become one executable test_<area>, one ctest entry each.
find_package(GTest REQUIRED)
file(GLOB areas CONFIGURE_DEPENDS LIST_DIRECTORIES true RELATIVE ${CMAKE_SOURCE_DIR}/tests
     ${CMAKE_SOURCE_DIR}/tests/*)
# Only these know the folders' names: a compiler cache serves all others wherever the clone lies.
set_property(SOURCE ${CMAKE_SOURCE_DIR}/tests/corpus/fuzz_corpus_test.cpp
                    ${CMAKE_SOURCE_DIR}/tests/corpus/pcap_corpus_test.cpp
                    ${CMAKE_SOURCE_DIR}/tests/daemon/lab_test.cpp
                    ${CMAKE_SOURCE_DIR}/tests/packetdrill/conformance_test.cpp
                    ${CMAKE_SOURCE_DIR}/tests/packetdrill/scripts_test.cpp
                    ${CMAKE_SOURCE_DIR}/tests/shim/shim_test.cpp
                    ${CMAKE_SOURCE_DIR}/tests/sim/throughput_test.cpp
                    ${CMAKE_SOURCE_DIR}/tests/wire/corpus_test.cpp
             PROPERTY COMPILE_DEFINITIONS PH_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                                          PH_BINARY_DIR="${CMAKE_BINARY_DIR}")
set(test_options -Wno-conversion)
if(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  list(APPEND test_options -O1)  # these run for less time than they compile
endif()
if(PH_SANITIZE)
  list(APPEND test_options -O0)  # half the time to compile; what they test stays optimised
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 follows neither reference counts nor checked lengths through inlined tests.
  list(APPEND test_options -Wno-use-after-free -Wno-array-bounds -Wno-stringop-overflow
                           -Wno-stringop-overread)
endif()
if(PH_PRECOMPILE)
  ph_precompiled(test OPTIONS -fPIE ${test_options} HEADERS ${PH_TEST_HEADERS}
                 LINKS fmt::fmt GTest::gmock)
  set_target_properties(precompiled_test PROPERTIES POSITION_INDEPENDENT_CODE OFF)
endif()
foreach(area ${areas})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${area}/*.cpp)
  if(NOT sources OR (area MATCHES "^(daemon|shim|cli|calls|memory)$" AND NOT TARGET ph_daemon)
     OR (area STREQUAL "judge" AND NOT TARGET ph_packetdrill))
    continue()
  endif()
  add_executable(test_${area} ${sources})
  target_include_directories(test_${area} PRIVATE ${CMAKE_SOURCE_DIR})
  if(area STREQUAL "base")
    target_link_libraries(test_${area} PRIVATE ph_base)
  elseif(area STREQUAL "wire" OR area STREQUAL "uapi")
    target_link_libraries(test_${area} PRIVATE ph_wire)
  elseif(area STREQUAL "kernel")
    target_link_libraries(test_${area} PRIVATE ph_kernel Threads::Threads)
  elseif(area STREQUAL "platform")
    target_link_libraries(test_${area} PRIVATE ph_platform)
  elseif(area MATCHES "^(core|sched|drivers)$")
    target_link_libraries(test_${area} PRIVATE ph_net_sched ph_drivers)
  else()
    target_link_libraries(test_${area} PRIVATE ph_sim)
    if(area MATCHES "^(daemon|shim|cli|calls|memory)$")
      target_link_libraries(test_${area} PRIVATE ph_daemon)
      if(area STREQUAL "calls")
        target_link_libraries(test_calls PRIVATE ph_calls)
      endif()
    elseif(area STREQUAL "judge")  # it loads the object as packetdrill would
      add_dependencies(test_judge ph_packetdrill)
      target_link_libraries(test_judge PRIVATE ${CMAKE_DL_LIBS})
      target_compile_definitions(test_judge PRIVATE
        PH_JUDGE="$<TARGET_FILE:ph_packetdrill>"
        PH_STAND_IN="${CMAKE_SOURCE_DIR}/tests/packetdrill/stand_in.sh")
    endif()
  endif()
  target_link_libraries(test_${area} PRIVATE GTest::gtest GTest::gmock GTest::gtest_main)
  target_compile_options(test_${area} PRIVATE ${test_options})
  ph_precompile(test_${area} test)
  add_test(NAME ${area} COMMAND test_${area} --gtest_brief=1)
  set_tests_properties(${area} PROPERTIES TIMEOUT 600)
endforeach()

# Tests that are Python programs: the project's rules (and that they find what they should), and
# `ph` from outside. A sanitizer has nothing to find in them.
find_program(PH_PYTHON NAMES python3 HINTS /usr/bin NO_DEFAULT_PATH)
if(NOT PH_SANITIZE)
  add_test(NAME drop_reasons
           COMMAND ${PH_PYTHON} ${CMAKE_SOURCE_DIR}/tools/drop_reasons.py --check)
  add_test(NAME tidy COMMAND ${PH_PYTHON} ${CMAKE_SOURCE_DIR}/tools/tidy.py)
  add_test(NAME unused COMMAND ${PH_PYTHON} ${CMAKE_SOURCE_DIR}/tools/unused.py)
  add_test(NAME tidy_rules COMMAND ${PH_PYTHON} ${CMAKE_SOURCE_DIR}/tests/tidy/tidy_test.py)
  add_test(NAME unused_rules COMMAND ${PH_PYTHON} ${CMAKE_SOURCE_DIR}/tests/tidy/unused_test.py)
  if(TARGET ph)
    add_test(NAME cli COMMAND ${PH_PYTHON} ${CMAKE_SOURCE_DIR}/tests/cli/cli_test.py
             $<TARGET_FILE:ph>)
  endif()
endif()

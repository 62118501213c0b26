# What users run: the preload shim, the daemon's library and the `ph` program.
find_package(yaml-cpp QUIET)
find_package(CLI11 QUIET)
find_package(spdlog QUIET)
find_package(nlohmann_json QUIET)

# What system calls on our sockets mean: in the shim, within any program, without C++'s runtime.
file(GLOB calls_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/calls/*.cpp)
if(calls_sources)
  add_library(ph_calls STATIC ${calls_sources} ${CMAKE_SOURCE_DIR}/src/daemon/protocol.cpp
              ${CMAKE_SOURCE_DIR}/src/daemon/anchor_name.cpp)
  target_compile_options(ph_calls PRIVATE -fvisibility=hidden -ftls-model=initial-exec -fno-rtti
                         -fno-exceptions -fasynchronous-unwind-tables)
  set_target_properties(ph_calls PROPERTIES POSITION_INDEPENDENT_CODE ON)
endif()

file(GLOB shim_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/shim/*.cpp)
if(shim_sources AND NOT PH_SANITIZE)  # a sanitizer cannot be preloaded into any program
  add_library(ph_preload SHARED ${shim_sources} ${CMAKE_SOURCE_DIR}/src/platform/program_file.cpp)
  target_link_libraries(ph_preload PRIVATE ph_calls ${CMAKE_DL_LIBS})
  target_compile_options(ph_preload PRIVATE -fvisibility=hidden -ftls-model=initial-exec -fno-rtti
                         -fno-exceptions -fasynchronous-unwind-tables)
  # Nothing of C++'s runtime, and no symbol but the hooks, may meet the program's own. Symbols are
  # looked up at the start: later it would be on the stack of the call that is first, 4 KiB of it.
  target_link_options(ph_preload PRIVATE -static-libstdc++ -static-libgcc -Wl,-z,defs,-z,now
                      -Wl,--hash-style=gnu
                      -Wl,--version-script=${CMAKE_SOURCE_DIR}/src/shim/exports.map)
  set_target_properties(ph_preload PROPERTIES LINK_DEPENDS ${CMAKE_SOURCE_DIR}/src/shim/exports.map)
  install(TARGETS ph_preload LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/posthaste)
endif()

file(GLOB daemon_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/daemon/*.cpp)
if(daemon_sources)
  add_library(ph_daemon STATIC ${daemon_sources})
  target_link_libraries(ph_daemon PUBLIC ph_sim yaml-cpp nlohmann_json::nlohmann_json
                                         spdlog::spdlog)
  ph_precompile(ph_daemon library_with_exceptions)
endif()

file(GLOB cli_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/cli/*.cpp)
if(cli_sources AND daemon_sources)
  add_executable(ph ${cli_sources})
  target_link_libraries(ph PRIVATE ph_daemon CLI11::CLI11)
  target_compile_options(ph PRIVATE -O1)  # reading flags is not where time goes
  target_compile_definitions(ph PRIVATE PH_VERSION="${PROJECT_VERSION}")
  set_target_properties(ph PROPERTIES ENABLE_EXPORTS ON)  # names in a crash's call chain
  install(TARGETS ph RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

file(GLOB program_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/programs/*.c)
if(PH_BUILD_TESTS)
  foreach(source ${program_sources})
    get_filename_component(name ${source} NAME_WE)
    add_executable(prog_${name} ${source})
    target_link_libraries(prog_${name} PRIVATE Threads::Threads)
    target_link_options(prog_${name} PRIVATE -Wl,-z,now)  # small_stacks.c measures first calls
    # They ask the system what it does, also with bad pointers and a full table of descriptors.
    if(PH_SANITIZE)
      target_compile_options(prog_${name} PRIVATE -fno-sanitize=all)
      target_link_options(prog_${name} PRIVATE -fno-sanitize=all)
    endif()
  endforeach()
endif()

# The stack for the genuine packetdrill, which loads it and calls it through a table.
file(GLOB judge_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/judge/*.cpp)
if(judge_sources AND NOT PH_SANITIZE)
  add_library(ph_packetdrill SHARED ${judge_sources})
  target_link_libraries(ph_packetdrill PRIVATE ph_sim Threads::Threads)
  target_compile_options(ph_packetdrill PRIVATE -fvisibility=hidden)
  target_link_options(ph_packetdrill PRIVATE -Wl,-z,defs
                      -Wl,--version-script=${CMAKE_SOURCE_DIR}/src/judge/exports.map)
  set_target_properties(ph_packetdrill PROPERTIES LINK_DEPENDS
                        ${CMAKE_SOURCE_DIR}/src/judge/exports.map)
  install(TARGETS ph_packetdrill LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/posthaste)
endif()

add_custom_target(programs)  # what `./ph` needs for the verbs that users have
foreach(name ph ph_preload ph_packetdrill)
  if(TARGET ${name})
    add_dependencies(programs ${name})
  endif()
endforeach()

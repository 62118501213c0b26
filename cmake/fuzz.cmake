# fuzz/*_fuzz.cpp become one libFuzzer executable each (clang only).
file(GLOB fuzz_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/fuzz/*_fuzz.cpp)
foreach(source ${fuzz_sources})
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE ph_sim)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer,address,undefined)
endforeach()
if(TARGET lab_fuzz)  # the daemon's library is not built here; the reader of lab files stands alone
  target_sources(lab_fuzz PRIVATE ${CMAKE_SOURCE_DIR}/src/daemon/lab.cpp
                                  ${CMAKE_SOURCE_DIR}/src/daemon/units.cpp)
  target_link_libraries(lab_fuzz PRIVATE yaml-cpp)
endif()
if(TARGET protocol_fuzz)
  target_sources(protocol_fuzz PRIVATE ${CMAKE_SOURCE_DIR}/src/daemon/protocol.cpp)
endif()

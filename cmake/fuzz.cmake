# fuzz/*_fuzz.cpp become one libFuzzer executable each (clang only).
file(GLOB fuzz_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/fuzz/*_fuzz.cpp)
foreach(source ${fuzz_sources})
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE ph_sim)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer,address,undefined)
endforeach()

# examples/*.cpp: programs that use posthaste as a library, one executable example_<name> each.
# They are also tests: each must run and end with 0.
file(GLOB example_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/examples/*.cpp)
foreach(source ${example_sources})
  get_filename_component(name ${source} NAME_WE)
  add_executable(example_${name} ${source})
  target_link_libraries(example_${name} PRIVATE ph_sim)
  if(PH_BUILD_TESTS)
    add_test(NAME example_${name} COMMAND example_${name})
  endif()
endforeach()

# bench/*_bench.cpp become one Google Benchmark executable, ph_bench.
find_package(benchmark QUIET)
file(GLOB bench_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bench/*_bench.cpp)
if(benchmark_FOUND AND bench_sources)
  add_executable(ph_bench ${bench_sources})
  target_link_libraries(ph_bench PRIVATE ph_sim benchmark::benchmark benchmark::benchmark_main)
endif()

# bench/dropin_experiments/*.cpp: what the kernel does for drop-in, one program each.
file(GLOB experiment_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bench/dropin_experiments/*.cpp)
foreach(source ${experiment_sources})
  get_filename_component(name ${source} NAME_WE)
  add_executable(exp_${name} ${source})
  target_link_libraries(exp_${name} PRIVATE Threads::Threads)
  target_compile_options(exp_${name} PRIVATE -Wno-conversion -Wno-unused-result -Wno-shadow)
endforeach()

# bench/cc/*.cpp: ph_cc, which `./ph bench cc` runs.
file(GLOB cc_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bench/cc/*.cpp)
add_executable(ph_cc ${cc_sources})
target_include_directories(ph_cc PRIVATE ${CMAKE_SOURCE_DIR})
target_link_libraries(ph_cc PRIVATE ph_sim)

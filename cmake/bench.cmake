# bench/*_bench.cpp become one Google Benchmark executable, ph_bench.
find_package(benchmark QUIET)
file(GLOB bench_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bench/*_bench.cpp)
if(benchmark_FOUND AND bench_sources)
  add_executable(ph_bench ${bench_sources})
  target_link_libraries(ph_bench PRIVATE ph_sim benchmark::benchmark benchmark::benchmark_main)
endif()

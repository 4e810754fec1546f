# The SIMT layer (kernels/simt/README.md): CUDA kernels compiled as C++ and run on the CPU, and compiled by nvcc when
# there is one.
#
#   saslm_simt_test(NAME SOURCES ... [USES library ...] [PLAIN_ONLY])
#       ctest entries NAME_plain (optimised), NAME_asan (AddressSanitizer and UBSan) and NAME_race (clang++, our own
#       race detector) from the same sources: kernels (.cu), compiled anew for each, and
#       GoogleTest files (.cpp), compiled once.
#   saslm_simt_mutations(NAME KERNELS ... [FILTER tests] [OR NAME ...])
#       ctest entries NAME_mutants_of_KERNEL: without any one of its synchronisations the kernel turns NAME_race red, or
#       that of another. FILTER: GoogleTest's, where not all tests are needed for that.
#   saslm_cuda_objects(NAME SOURCES ... ARCHITECTURES ${SASLM_CUDA_ARCHITECTURES})
#       an object library that nvcc compiles for these (cmake/gpu_code.cmake), with its warnings and those of ptxas as
#       errors. Nothing without nvcc.

include(CheckCXXCompilerFlag)
include(cmake/find_cuda.cmake)
include(cmake/gpu_code.cmake)

set(simt_dir ${PROJECT_SOURCE_DIR}/kernels/simt)
set(simt_sources
  ${PROJECT_SOURCE_DIR}/src/core/error.cpp
  ${simt_dir}/barriers.cpp ${simt_dir}/collectives.cpp ${simt_dir}/cp_async.cpp ${simt_dir}/fiber.cpp
  ${simt_dir}/grid.cpp ${simt_dir}/mbarrier_tma.cpp ${simt_dir}/mma.cpp ${simt_dir}/report.cpp
  ${simt_dir}/scheduler.cpp ${simt_dir}/schedules.cpp ${simt_dir}/shared_memory.cpp ${simt_dir}/wgmma.cpp)

set(simt_includes ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/tests)
set(simt_warnings -Wall -Wextra -Wshadow -Wno-missing-field-initializers)
if(SASLM_WERROR)
  list(APPEND simt_warnings -Werror)
endif()
# What every kernel is compiled with: it reads one memory as several types; what it forgets to set shows.
set(simt_flags -fno-strict-aliasing -g1)
check_cxx_compiler_flag(-ftrivial-auto-var-init=pattern SASLM_FILLS_VARIABLES)  # GCC 12 is the first that does
if(SASLM_FILLS_VARIABLES)
  list(APPEND simt_flags -ftrivial-auto-var-init=pattern)
endif()
set(simt_plain_flags -O2)
set(simt_asan_flags -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
set(simt_race_flags -O1 -fsanitize=thread)

function(saslm_simt_layer build)
  add_library(simt_${build} ${ARGN} ${simt_sources})
  target_include_directories(simt_${build} PUBLIC ${simt_includes})
  target_compile_options(simt_${build} PRIVATE ${simt_warnings} PUBLIC $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
endfunction()
saslm_simt_layer(plain STATIC)
target_compile_options(simt_plain PRIVATE -O3)
saslm_simt_layer(asan STATIC)
target_compile_options(simt_asan PRIVATE ${simt_asan_flags} -O2)
target_link_options(simt_asan PUBLIC -fsanitize=address,undefined)
foreach(build plain asan)
  set_target_properties(simt_${build} PROPERTIES EXCLUDE_FROM_ALL ON)
endforeach()

find_program(SASLM_CLANGXX NAMES clang++ clang++-20 clang++-19 clang++-18 clang++-17 clang++-16 clang++-15 clang++-14
             DOC "compiles kernels for the race build of the SIMT layer")
if(SASLM_CLANGXX)
  # A shared library bound to itself: what a test compiles with hooks never stands in for a function of the layer.
  saslm_simt_layer(race SHARED)
  target_sources(simt_race PRIVATE ${simt_dir}/race.cpp ${simt_dir}/race_hooks.cpp)
  target_compile_definitions(simt_race PRIVATE SASLM_SIMT_RACE)
  target_compile_options(simt_race PRIVATE -O3)
  target_link_options(simt_race PRIVATE -Wl,-Bsymbolic
                      INTERFACE -Wl,--wrap=memcpy -Wl,--wrap=memmove -Wl,--wrap=memset)
  target_link_libraries(simt_race PRIVATE ${CMAKE_DL_LIBS})
  set_target_properties(simt_race PROPERTIES EXCLUDE_FROM_ALL ON)
elseif(SASLM_TESTS)
  message(WARNING "clang++ was not found: the race build of every SIMT test is SKIPPED (NAME_race is reported as "
                  "skipped). Races and missing waits then go unseen; install clang or set SASLM_CLANGXX.")
endif()

# Compiles one source by clang++ with hooks; result: the object file.
function(simt_race_object result name source)
  get_filename_component(source ${source} ABSOLUTE)
  get_filename_component(base ${source} NAME)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}_race.dir/${base}.o)
  list(TRANSFORM simt_includes PREPEND -I OUTPUT_VARIABLE includes)
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER} ${SASLM_CLANGXX} -std=c++20 ${simt_warnings} -Wno-pass-failed ${simt_flags}
            ${simt_race_flags} -fPIE ${includes} -MD -MF ${object}.d -MT ${object} -x c++ -c ${source} -o ${object}
    DEPENDS ${source} DEPFILE ${object}.d
    COMMENT "Building race object of ${base}" VERBATIM)
  set(${result} ${object} PARENT_SCOPE)
endfunction()

function(saslm_simt_test name)
  cmake_parse_arguments(TEST "PLAIN_ONLY" "" "SOURCES;USES" ${ARGN})
  set(kernels ${TEST_SOURCES})
  set(host ${TEST_SOURCES})
  list(FILTER kernels INCLUDE REGEX "\\.cu$")
  list(FILTER host EXCLUDE REGEX "\\.cu$")
  set_source_files_properties(${kernels} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-xc++")

  add_library(${name}_host OBJECT ${host})  # the same for all builds
  target_include_directories(${name}_host PRIVATE ${simt_includes})
  target_compile_options(${name}_host PRIVATE ${simt_warnings} $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict> -O1)
  target_link_libraries(${name}_host PRIVATE GTest::gtest)

  set(builds plain)
  if(NOT TEST_PLAIN_ONLY)
    list(APPEND builds asan)
  endif()
  foreach(build ${builds})
    add_executable(${name}_${build} ${kernels})
    target_compile_options(${name}_${build} PRIVATE ${simt_warnings} ${simt_flags} ${simt_${build}_flags})
  endforeach()
  if(TEST_PLAIN_ONLY)
    # the kernels' own tests are the strict ones
  elseif(SASLM_CLANGXX)
    list(APPEND builds race)
    set(objects)
    foreach(kernel ${kernels})
      simt_race_object(object ${name} ${kernel})
      list(APPEND objects ${object})
    endforeach()
    add_executable(${name}_race ${objects})
    set_target_properties(${name}_race PROPERTIES LINKER_LANGUAGE CXX)
  else()
    add_test(NAME ${name}_race COMMAND ${CMAKE_COMMAND} -E echo "SKIPPED: no clang++ for the race build")
    set_tests_properties(${name}_race PROPERTIES LABELS simt SKIP_REGULAR_EXPRESSION "SKIPPED")
  endif()
  foreach(build ${builds})
    target_link_libraries(${name}_${build} PRIVATE ${name}_host simt_test_support simt_${build} ${TEST_USES} GTest::gtest_main)
    add_test(NAME ${name}_${build} COMMAND ${name}_${build})
    set_tests_properties(${name}_${build} PROPERTIES LABELS simt TIMEOUT 600)  # a kernel that spins must not hang CI
  endforeach()
endfunction()

# Drops each synchronisation of these kernels in turn; the race build of the test must turn red (scripts/mutate_kernels.py).
function(saslm_simt_mutations test)
  cmake_parse_arguments(MUTATIONS "" "FILTER" "OR" ${ARGN})
  if(NOT SASLM_CLANGXX OR NOT CMAKE_GENERATOR STREQUAL "Ninja")
    return()
  endif()
  foreach(kernel ${MUTATIONS_UNPARSED_ARGUMENTS})
    get_filename_component(base ${kernel} NAME_WE)
    add_test(NAME ${test}_mutants_of_${base}
             COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/scripts/mutate_kernels.py ${kernel} ${test} ${MUTATIONS_OR}
                     --build-dir ${PROJECT_BINARY_DIR} --filter=${MUTATIONS_FILTER}
             WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
    set_tests_properties(${test}_mutants_of_${base} PROPERTIES LABELS "simt;nightly" TIMEOUT 600)
  endforeach()
endfunction()

option(SASLM_CUDA "Compile the GPU side of the kernels when there is an nvcc" ON)
if(SASLM_CUDA)
  include(CheckLanguage)
  saslm_find_nvcc()
  if(SASLM_NVCC)
    check_language(CUDA)
  endif()
endif()
set(SASLM_CUDA_ARCHITECTURES "" CACHE STRING "Cards that the kernels are compiled for (cmake/gpu_code.cmake); empty: all")
if(SASLM_CUDA AND CMAKE_CUDA_COMPILER)
  set(CMAKE_CUDA_ARCHITECTURES 80-real CACHE STRING "saslm_cuda_objects sets its own")
  enable_language(CUDA)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")  # CMake before 3.26 does not know it for this nvcc
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_FLAGS_RELEASE "-O3")  # checks stay on: no NDEBUG
  add_library(saslm_cuda_options INTERFACE)
  target_include_directories(saslm_cuda_options INTERFACE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR})
  target_compile_options(saslm_cuda_options INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:
    --expt-relaxed-constexpr  # constexpr members of views, std::bit_cast
    -diag-suppress=554        # views of const convert to nothing further
    $<$<BOOL:${SASLM_WERROR}>:-Werror=all-warnings>
    -lineinfo                 # profilers show the source; the code is the same
    -Xptxas=-v$<$<BOOL:${SASLM_WERROR}>:,--warning-as-error>
    -Xcompiler=-Wall,-Wextra,-Wno-restrict>)
  find_package(CUDAToolkit REQUIRED)
  saslm_find_cuda_header(CUBLASLT_INCLUDE_DIR cublasLt.h)  # the library is loaded when a GPU is used
  if(NOT SASLM_CUDA_ARCHITECTURES)
    saslm_default_architectures(SASLM_CUDA_ARCHITECTURES ${CMAKE_CUDA_COMPILER_VERSION})
  endif()
  saslm_generate_code(unused SASLM_GPU_CODE_WORDS ${SASLM_CUDA_ARCHITECTURES})
  saslm_check_nvcc_knows(${CMAKE_CUDA_COMPILER} "${SASLM_GPU_CODE_WORDS}")
  if(CUBLASLT_INCLUDE_DIR AND NOT SASLM_SANITIZE)
    set(SASLM_HAS_CUDA ON)
  endif()
endif()
if(SASLM_HAS_CUDA)
  message(STATUS "CUDA ${CUDAToolkit_VERSION} (${CMAKE_CUDA_COMPILER}), cuBLASLt: the program will use a GPU where there is one")
  message(STATUS "CUDA code for ${SASLM_GPU_CODE_WORDS}")
else()
  saslm_say_why_no_cuda()
endif()

# GoogleTest's filter of the suites of a test file.
function(saslm_suites_of test result)
  file(STRINGS ${test} suites REGEX "^(TYPED_)?TEST\\(")
  list(TRANSFORM suites REPLACE "^[^(]*\\(([A-Za-z0-9]+).*" "\\1.*:\\1/*")
  list(REMOVE_DUPLICATES suites)
  list(JOIN suites ":" filter)
  set(${result} ${filter} PARENT_SCOPE)
endfunction()

function(saslm_cuda_objects name)
  cmake_parse_arguments(CUDA "" "" "SOURCES;ARCHITECTURES" ${ARGN})
  if(NOT TARGET saslm_cuda_options)
    return()
  endif()
  add_library(${name} OBJECT ${CUDA_SOURCES})
  target_link_libraries(${name} PRIVATE saslm_cuda_options)
  saslm_generate_code(code unused ${CUDA_ARCHITECTURES})
  target_compile_options(${name} PRIVATE ${code})
  set_target_properties(${name} PROPERTIES CUDA_ARCHITECTURES OFF
    RULE_LAUNCH_COMPILE "${PROJECT_SOURCE_DIR}/cmake/keep_log.sh <OBJECT>.log")  # scripts/kernel_resources.py reads it
endfunction()

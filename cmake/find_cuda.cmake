# Where CUDA is: on PATH, or where people have it without that (environment modules, conda, NVIDIA's installer, Python's
# wheels). The one place that looks: scripts/build.sh, scripts/gpu_check.sh and a plain cmake all come through here.
#
#   saslm_find_nvcc()   names the first nvcc that is new enough to CMake, in ENV{CUDACXX}, unless the user has named one
#                       (CUDACXX, CMAKE_CUDA_COMPILER). SASLM_NVCC: the one that is used, or ""; SASLM_NVCC_PASSED_OVER:
#                       those that are too old, in words
#   saslm_find_cuda_header(VARIABLE FILE)
#                       the folder of a library's header, in the cache, from the toolkit, conda or Python's wheels
#   saslm_say_why_no_cuda()
#                       prints what is missing
#   saslm_library_folder(VARIABLE INCLUDE NAME)
#                       the folder of the library that belongs to headers, or ""

set(SASLM_OLDEST_CUDA 12.0)  # the first whose nvcc takes C++20

# As they are searched, the first that has it wins.
function(saslm_cuda_folders result)
  string(REPLACE ":" ";" folders "$ENV{PATH}")
  foreach(variable CUDA_HOME CUDA_PATH CUDA_ROOT CUDA_DIR EBROOTCUDA CONDA_PREFIX)
    if(NOT "$ENV{${variable}}" STREQUAL "")
      list(APPEND folders "$ENV{${variable}}/bin")
    endif()
  endforeach()
  file(GLOB versions "${SASLM_SYSTEM_ROOT}/usr/local/cuda-*")
  list(SORT versions COMPARE NATURAL ORDER DESCENDING)
  list(TRANSFORM versions APPEND "/bin")
  list(APPEND folders "${SASLM_SYSTEM_ROOT}/usr/local/cuda/bin" ${versions} "${SASLM_SYSTEM_ROOT}/opt/cuda/bin")
  set(${result} "${folders}" PARENT_SCOPE)
endfunction()

function(saslm_nvcc_version nvcc result)
  execute_process(COMMAND "${nvcc}" --version OUTPUT_VARIABLE said ERROR_VARIABLE said)
  string(REGEX MATCH "release ([0-9]+\\.[0-9]+)" found "${said}")
  set(${result} "${CMAKE_MATCH_1}" PARENT_SCOPE)
endfunction()

function(saslm_find_nvcc)
  set(SASLM_NVCC "" PARENT_SCOPE)
  set(SASLM_NVCC_PASSED_OVER "" PARENT_SCOPE)
  foreach(said "${CMAKE_CUDA_COMPILER}" "$ENV{CUDACXX}")
    if(said)
      set(SASLM_NVCC "${said}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
  set(passed_over)
  saslm_cuda_folders(folders)
  foreach(folder IN LISTS folders)
    if(folder STREQUAL "" OR NOT EXISTS "${folder}/nvcc")
      continue()
    endif()
    saslm_nvcc_version("${folder}/nvcc" version)
    if(version STREQUAL "" OR version VERSION_LESS SASLM_OLDEST_CUDA)
      list(APPEND passed_over "${folder}/nvcc (${version})")
      continue()
    endif()
    set(ENV{CUDACXX} "${folder}/nvcc")
    set(SASLM_NVCC "${folder}/nvcc" PARENT_SCOPE)
    break()
  endforeach()
  list(REMOVE_DUPLICATES passed_over)
  list(JOIN passed_over ", " passed_over)
  set(SASLM_NVCC_PASSED_OVER "${passed_over}" PARENT_SCOPE)
endfunction()

# Folders of headers that PyTorch and others bring as Python packages.
function(saslm_wheel_includes result)
  find_program(SASLM_PYTHON3 python3)
  mark_as_advanced(SASLM_PYTHON3)
  set(found)
  if(SASLM_PYTHON3)
    execute_process(COMMAND ${SASLM_PYTHON3} -c "import glob, site
folders = site.getsitepackages() + [site.getusersitepackages()]
print(';'.join(sorted(sum((glob.glob(f + '/nvidia/*/include') for f in folders), []))))"
                    OUTPUT_VARIABLE found ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  endif()
  set(${result} "${found}" PARENT_SCOPE)
endfunction()

# Those of the toolkit's own major version: of CUDA 12 they are nvidia/cublas, nvidia/nccl, ..., of later ones nvidia/cu13.
function(saslm_fitting_wheels result)
  set(fitting)
  foreach(include ${ARGN})
    if(include MATCHES "/cu([0-9]+)/include$")
      set(major ${CMAKE_MATCH_1})
    elseif(include MATCHES "/nccl/include$")
      set(major ${CUDAToolkit_VERSION_MAJOR})
    else()
      set(major 12)
    endif()
    if(major EQUAL CUDAToolkit_VERSION_MAJOR)
      list(APPEND fitting ${include})
    endif()
  endforeach()
  set(${result} "${fitting}" PARENT_SCOPE)
endfunction()

function(saslm_find_cuda_header variable file)
  set(homes)
  foreach(home NCCL_HOME NCCL_ROOT EBROOTNCCL CONDA_PREFIX)
    if(NOT "$ENV{${home}}" STREQUAL "")
      list(APPEND homes "$ENV{${home}}/include" "$ENV{${home}}/targets/${CMAKE_SYSTEM_PROCESSOR}-linux/include")
    endif()
  endforeach()
  saslm_wheel_includes(wheels)
  saslm_fitting_wheels(wheels ${wheels})
  find_path(${variable} ${file} HINTS ${CUDAToolkit_INCLUDE_DIRS} ${homes} PATHS ${wheels} DOC "the folder of ${file}")
endfunction()

function(saslm_library_folder variable include name)
  set(${variable} "" PARENT_SCOPE)
  foreach(place ../lib ../lib64 ../../../lib)
    file(GLOB libraries "${include}/${place}/lib${name}.so*")
    if(libraries)
      get_filename_component(folder "${include}/${place}" ABSOLUTE)
      set(${variable} "${folder}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
endfunction()

function(saslm_say_why_no_cuda)
  set(alone "the program is built for CPUs alone")
  if(NOT SASLM_CUDA)
    message(STATUS "CUDA is not asked for (SASLM_CUDA=OFF): ${alone}")
  elseif(SASLM_SANITIZE AND CMAKE_CUDA_COMPILER)
    message(STATUS "CUDA is left out of a sanitized build: ${alone}")
  elseif(CMAKE_CUDA_COMPILER)
    message(STATUS "CUDA ${CUDAToolkit_VERSION} (${CMAKE_CUDA_COMPILER}), but no cublasLt.h: ${alone}. Install cuBLAS's "
                   "headers (libcublas-dev, in Python nvidia-cublas) for that CUDA, or set CUBLASLT_INCLUDE_DIR")
  elseif(SASLM_NVCC)
    execute_process(COMMAND ${CMAKE_COMMAND} -E touch ${PROJECT_BINARY_DIR}/empty.cu)
    execute_process(COMMAND "${SASLM_NVCC}" -std=c++20 -c ${PROJECT_BINARY_DIR}/empty.cu -o ${PROJECT_BINARY_DIR}/empty.o
                    OUTPUT_VARIABLE said ERROR_VARIABLE said)
    message(WARNING "${SASLM_NVCC} compiles nothing here: ${alone}. It says:\n${said}"
                    "Where it refuses the host's compiler, name another in CUDAHOSTCXX, e.g. CUDAHOSTCXX=g++-12")
  else()
    if(SASLM_NVCC_PASSED_OVER)
      set(old " Too old, ${SASLM_OLDEST_CUDA} or newer is wanted: ${SASLM_NVCC_PASSED_OVER}.")
    endif()
    message(STATUS "No nvcc on PATH, in CUDA_HOME, CUDA_PATH, CONDA_PREFIX or /usr/local/cuda: ${alone}.${old} With a GPU, "
                   "install the CUDA toolkit, or say CUDACXX=.../bin/nvcc")
  endif()
endfunction()

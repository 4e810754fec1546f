# For which GPUs the kernels are compiled. SASLM_CUDA_ARCHITECTURES is a list of
#
#   90, 90-real   machine code for compute capability 9.0: runs on cards of the same major version whose minor one is the
#                 same or higher (NVIDIA, Blackwell Compatibility Guide 1.2): that for 8.0 on 8.6 and 8.9, for 10.0 on
#                 10.3, for 12.0 on 12.1. Without -real the common PTX comes with it
#   90a-real      machine code with what 9.0 has and no other, for tests of it; runs nowhere else
#   80-virtual    PTX, which the driver compiles at first use, for every card from 8.0 on, those to come among them
#
# All machine code but that of 90a and the like is made of one PTX, that of compute_80: the kernels use nothing newer,
# and nvcc 13.0's PTX for compute_90 differs in its .target alone. So each source is read and optimised once; what is
# tested of this PTX holds for every card, up to ptxas.

# What is shipped: few, and every card from 8.0 on (Orin, 8.7, and Thor, 11.0, by PTX).
function(saslm_default_architectures result nvcc_version)
  set(list 80-virtual 80-real 90-real)
  if(nvcc_version VERSION_GREATER_EQUAL 12.8)
    list(APPEND list 100-real 120-real)
  endif()
  set(${result} "${list}" PARENT_SCOPE)
endfunction()

# nvcc's options for a list, and in nvcc's words what the program then has: "compute_80 sm_80 sm_90".
function(saslm_generate_code options_result words_result)
  set(options)
  set(common)
  set(words)
  foreach(entry ${ARGN})
    if(NOT entry MATCHES "^([1-9][0-9]+)([af]?)(-real|-virtual)?$")
      message(FATAL_ERROR "SASLM_CUDA_ARCHITECTURES holds \"${entry}\"; wanted numbers such as 90, 90-real or 80-virtual, "
                          "separated by semicolons")
    endif()
    set(number ${CMAKE_MATCH_1})
    set(letter ${CMAKE_MATCH_2})
    set(form ${CMAKE_MATCH_3})
    if(number LESS 80)
      message(FATAL_ERROR "SASLM_CUDA_ARCHITECTURES holds \"${entry}\": the kernels need compute capability 8.0 or newer")
    endif()
    if(letter)
      if(form STREQUAL "-virtual")
        set(code compute_${number}${letter})
      else()
        set(code sm_${number}${letter})
      endif()
      list(APPEND options --generate-code=arch=compute_${number}${letter},code=${code})
      list(APPEND words ${code})
    elseif(form STREQUAL "-virtual" AND number GREATER 80)
      list(APPEND options --generate-code=arch=compute_${number},code=compute_${number})
      list(APPEND words compute_${number})
    elseif(form STREQUAL "-virtual")
      list(APPEND common compute_80)
    elseif(form STREQUAL "-real")
      list(APPEND common sm_${number})
    else()
      list(APPEND common compute_80 sm_${number})
    endif()
  endforeach()
  list(REMOVE_DUPLICATES common)
  list(JOIN common "," codes)
  if(common)
    list(PREPEND options "--generate-code=arch=compute_80,code=[${codes}]")
  endif()
  list(PREPEND words ${common})
  list(JOIN words " " words)
  set(${options_result} "${options}" PARENT_SCOPE)
  set(${words_result} "${words}" PARENT_SCOPE)
endfunction()

# A library of kernels says what it has code for: cuda::code_words() (kernels/cuda/any_kernel.h).
function(saslm_tell_code library)
  saslm_generate_code(unused words ${ARGN})
  set(file ${CMAKE_CURRENT_BINARY_DIR}/${library}_code.cpp)
  file(CONFIGURE OUTPUT ${file} @ONLY CONTENT [[
#include "kernels/cuda/any_kernel.h"

const char* saslm::cuda::code_words() { return "@words@"; }
]])
  target_sources(${library} PRIVATE ${file})
  target_include_directories(${library} PRIVATE ${PROJECT_SOURCE_DIR})
endfunction()

# Refuses what this nvcc cannot make, before it is asked for each file.
function(saslm_check_nvcc_knows nvcc words)
  execute_process(COMMAND "${nvcc}" --list-gpu-code OUTPUT_VARIABLE known ERROR_QUIET)
  string(REGEX MATCHALL "sm_[0-9]+" wanted "${words}")
  foreach(code IN LISTS wanted)
    if(known AND NOT known MATCHES "${code}([^0-9]|$)")
      string(REGEX REPLACE "\n" " " known "${known}")
      message(FATAL_ERROR "${nvcc} makes no code for ${code}; it knows ${known}. Take a newer CUDA (sm_100 and sm_120: 12.8, "
                          "sm_103: 12.9), or others in -DSASLM_CUDA_ARCHITECTURES: 80-virtual runs on every card from 8.0 on")
    endif()
  endforeach()
endfunction()

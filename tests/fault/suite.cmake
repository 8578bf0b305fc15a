# The real binary under load while what it stands on breaks: upstreams, Redis, the disk, the process
# itself. What ends a test is what it waits for; `soak` runs as long as it is told and is no test.
add_library(fault_support STATIC ${CMAKE_CURRENT_LIST_DIR}/load.cc)
target_link_libraries(fault_support PUBLIC holdfast_test_support)

# Stands before the C library in a process whose disk is to fail.
add_library(disk_shim MODULE ${CMAKE_CURRENT_LIST_DIR}/disk_shim.c)
target_link_libraries(disk_shim PRIVATE ${CMAKE_DL_LIBS})

# Stands before the C library in a process whose wall clock is to be set.
add_library(clock_shim MODULE ${CMAKE_CURRENT_LIST_DIR}/clock_shim.c)
target_link_libraries(clock_shim PRIVATE ${CMAKE_DL_LIBS})

function(holdfast_fault_program name source)
  add_executable(${name} ${source} $<TARGET_OBJECTS:holdfast_test_main>)
  target_link_libraries(${name} PRIVATE fault_support)
  target_compile_definitions(${name} PRIVATE HOLDFAST_DISK_SHIM="$<TARGET_FILE:disk_shim>"
    HOLDFAST_CLOCK_SHIM="$<TARGET_FILE:clock_shim>")
  add_dependencies(${name} disk_shim clock_shim)
  if(TARGET holdfast)
    add_dependencies(${name} holdfast)
  endif()
endfunction()

file(GLOB topics CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*_test.cc)
foreach(source ${topics})
  get_filename_component(topic ${source} NAME_WE)
  string(REGEX REPLACE "_test$" "" topic ${topic})
  holdfast_fault_program(fault_${topic} ${source})
  add_test(NAME fault.${topic} COMMAND fault_${topic})
  set_tests_properties(fault.${topic} PROPERTIES LABELS integration TIMEOUT 180)
endforeach()

# ./dev soak
holdfast_fault_program(soak ${CMAKE_CURRENT_LIST_DIR}/soak.cc)

# What measures is tested too: a generator that leaves a standstill out reports a fiction.
if(NOT HOLDFAST_SANITIZE)
  add_executable(loadtest_suite ${CMAKE_CURRENT_LIST_DIR}/histogram_test.cc
    ${CMAKE_CURRENT_LIST_DIR}/openloop_test.cc $<TARGET_OBJECTS:holdfast_test_main>)
  target_link_libraries(loadtest_suite PRIVATE openloop_parts holdfast_test_support)
  target_compile_definitions(loadtest_suite PRIVATE OPENLOOP_BINARY="$<TARGET_FILE:openloop>"
    FAST_UPSTREAM_BINARY="$<TARGET_FILE:fast_upstream>")
  add_dependencies(loadtest_suite openloop fast_upstream)
  add_test(NAME loadtest.openloop COMMAND loadtest_suite)
  set_tests_properties(loadtest.openloop PROPERTIES LABELS loadtest TIMEOUT 120)

  # Instructions by request, against loadtest/instructions.txt.
  if(TARGET holdfast)
    add_test(NAME loadtest.instructions COMMAND ${CMAKE_SOURCE_DIR}/loadtest/instructions --check get post)
    set_tests_properties(loadtest.instructions PROPERTIES LABELS loadtest TIMEOUT 300
      ENVIRONMENT HOLDFAST_BUILD=${CMAKE_BINARY_DIR})
  endif()
endif()

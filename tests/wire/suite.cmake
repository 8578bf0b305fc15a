# What a hostile wire may send: cases from a table, other parsers' opinion, and greed. Each test is a
# program of its own that drives the real binary.
add_library(wire_support STATIC
  ${CMAKE_CURRENT_LIST_DIR}/wire_bench.cc
  ${CMAKE_CURRENT_LIST_DIR}/wire_case.cc)
target_link_libraries(wire_support PUBLIC holdfast_test_support)

file(GLOB topics CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*_test.cc)
foreach(source ${topics})
  get_filename_component(topic ${source} NAME_WE)
  string(REGEX REPLACE "_test$" "" topic ${topic})
  add_executable(wire_${topic} ${source} $<TARGET_OBJECTS:holdfast_test_main>)
  target_link_libraries(wire_${topic} PRIVATE wire_support)
  holdfast_test_headers(wire_${topic})
  target_compile_definitions(wire_${topic} PRIVATE
    HOLDFAST_WIRE_CASES="${CMAKE_CURRENT_LIST_DIR}" HOLDFAST_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  if(TARGET holdfast)
    add_dependencies(wire_${topic} holdfast)
  endif()
  add_test(NAME wire.${topic} COMMAND wire_${topic})
  set_tests_properties(wire.${topic} PROPERTIES LABELS integration TIMEOUT 180)
endforeach()

# The table once more, over TLS to the upstream, and over TLS with clients.
foreach(who upstream client)
  add_test(NAME wire.corpus_tls_${who} COMMAND wire_corpus)
  set_tests_properties(wire.corpus_tls_${who} PROPERTIES LABELS integration TIMEOUT 180
    ENVIRONMENT HOLDFAST_WIRE_TLS=${who})
endforeach()

# Reads the source tree as text and holds it to the rules of the house: layers, doors, co_await.
holdfast_suite(tidy_test tidy holdfast_flags)
target_compile_definitions(tidy_test PRIVATE HOLDFAST_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
add_test(NAME tidy COMMAND tidy_test)
set_tests_properties(tidy PROPERTIES LABELS tidy TIMEOUT 60)

if(TARGET holdfast AND NOT HOLDFAST_SANITIZE)
  add_test(NAME tidy.image COMMAND ${CMAKE_CURRENT_LIST_DIR}/image_packages $<TARGET_FILE:holdfast>
    ${CMAKE_SOURCE_DIR}/Dockerfile)
  set_tests_properties(tidy.image PROPERTIES LABELS tidy TIMEOUT 60)
endif()

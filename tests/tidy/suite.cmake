# Reads the source tree as text and holds it to the rules of the house: layers, doors, co_await.
holdfast_suite(tidy_test tidy holdfast_flags)
target_compile_definitions(tidy_test PRIVATE HOLDFAST_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
add_test(NAME tidy COMMAND tidy_test)
set_tests_properties(tidy PROPERTIES LABELS tidy TIMEOUT 60)

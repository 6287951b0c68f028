# SPDX-License-Identifier: Apache-2.0
# -DHS_STATIC=ON: hangscope_cli_static, static/hangscope in the build directory. One file that needs no other: no libc, no
# loader, no locale, no character set tables; static-pie. The objects are those of the program that is linked
# dynamically, but for libunwind and the loading of libraries (core/native/static/).

# What pkg-config says is needed to link libdw and the others statically, without what this machine has no archive of:
# libarchive's archive formats want libraries (acl, xml2) that its decompressors do not. If it is wanted, the linker says so.
function(hs_static_libraries ret)
  set(found "")
  foreach(name IN LISTS DW_STATIC_LIBRARIES ARCHIVE_STATIC_LIBRARIES JANSSON_STATIC_LIBRARIES)
    find_library(HS_STATIC_${name} lib${name}.a PATHS ${DW_LIBRARY_DIRS} ${ARCHIVE_LIBRARY_DIRS})
    mark_as_advanced(HS_STATIC_${name})
    if(HS_STATIC_${name})
      list(APPEND found ${HS_STATIC_${name}})
    elseif(name MATCHES "^(dw|elf|archive|jansson|z|lzma|zstd|lz4|bz2)$")
      message(FATAL_ERROR "HS_STATIC needs lib${name}.a (sh tests/install-deps.sh build installs it)")
    endif()
  endforeach()
  list(REMOVE_DUPLICATES found)
  set(${ret} ${found} PARENT_SCOPE)
endfunction()

if(HS_SANITIZE)
  message(FATAL_ERROR "HS_STATIC: the sanitizers do not work in a static program")
endif()
hs_static_libraries(static_libraries)
set(shared_objects $<TARGET_OBJECTS:hangscope_objects>)
add_executable(hangscope_cli_static
  $<TARGET_OBJECTS:hangscope_cli_objects>
  $<FILTER:${shared_objects},EXCLUDE,/unwind_libunwind[.]>
  core/native/static/no_loader.c core/native/static/no_libunwind.c)
target_include_directories(hangscope_cli_static PRIVATE
                           $<TARGET_PROPERTY:hangscope_objects,INCLUDE_DIRECTORIES>)
set_target_properties(hangscope_cli_static PROPERTIES OUTPUT_NAME hangscope
                                                      RUNTIME_OUTPUT_DIRECTORY static)
set(loader dlopen dlclose dlsym dladdr dlerror iconv_open iconv iconv_close)
list(TRANSFORM loader PREPEND LINKER:--wrap=)
# libarchive's list of writers by number, which nobody calls, would bring all of them: an XML parser with a network client
# for one, ciphers for another. It gets abort() for those.
set(writers 7zip iso9660 mtree mtree_classic shar shar_dump warc xar zip)
list(TRANSFORM writers REPLACE "(.+)" "LINKER:--defsym=archive_write_set_format_\\1=abort")
target_link_options(hangscope_cli_static PRIVATE -static-pie LINKER:--gc-sections ${loader} ${writers})
# A library: what is there already is not taken from it.
add_library(hangscope_eu_search STATIC core/native/static/eu_search.c)
target_link_libraries(hangscope_cli_static PRIVATE
                      $<LINK_GROUP:RESCAN,${static_libraries},hangscope_eu_search> stdc++ m)
# The symbols in a file of their own: 1 MB that the pod does not need.
add_custom_command(TARGET hangscope_cli_static POST_BUILD VERBATIM
  COMMAND ${CMAKE_OBJCOPY} --only-keep-debug $<TARGET_FILE:hangscope_cli_static>
          $<TARGET_FILE:hangscope_cli_static>.debug
  COMMAND ${CMAKE_STRIP} --strip-all $<TARGET_FILE:hangscope_cli_static>
  COMMAND ${CMAKE_OBJCOPY} --add-gnu-debuglink=$<TARGET_FILE:hangscope_cli_static>.debug
          $<TARGET_FILE:hangscope_cli_static>)

# SPDX-License-Identifier: Apache-2.0
# What is installed beside programs and libraries, and `cpack`:
#   cpack -G DEB   hangscope_*.deb: the tool, man page, completions; libhangscope-dev_*.deb: the libraries and headers
#   cpack -G TGZ   with HS_STATIC the static program with its man page and completions, else what is installed
# The component of a file is its package: tool, dev or static.

install(TARGETS hangscope_cli COMPONENT tool)
install(TARGETS hangscope_shared hangscope_static COMPONENT dev)
install(FILES core/render/hangscope-1.schema.json core/doctor/hangscope-doctor-1.schema.json
        DESTINATION ${CMAKE_INSTALL_DATADIR}/hangscope COMPONENT tool)
install(FILES cli/hangscope.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT tool)
install(FILES LICENSE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT tool)
install(DIRECTORY samples/kubernetes DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT tool)

install(FILES cli/completions/hangscope.bash RENAME hangscope
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT tool)
install(FILES cli/completions/hangscope.fish
        DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d COMPONENT tool)
# zsh of Debian looks at other places below /usr than below /usr/local.
set(zsh_source "${PROJECT_SOURCE_DIR}/cli/completions/_hangscope")
install(CODE "
  set(zsh site-functions)
  if(CMAKE_INSTALL_PREFIX STREQUAL \"/usr\" AND EXISTS /etc/debian_version)
    set(zsh vendor-completions)
  endif()
  file(INSTALL \"${zsh_source}\" DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATADIR}/zsh/\${zsh}\")
" COMPONENT tool)

if(HS_STATIC)
  # Not by `cmake --install`, whose program is the dynamic one.
  install(TARGETS hangscope_cli_static DESTINATION . COMPONENT static EXCLUDE_FROM_ALL)
  install(FILES cli/hangscope.1 LICENSE README.md DESTINATION . COMPONENT static EXCLUDE_FROM_ALL)
  install(DIRECTORY cli/completions samples/kubernetes DESTINATION . COMPONENT static EXCLUDE_FROM_ALL)
endif()

set(CPACK_PACKAGE_NAME hangscope)
set(CPACK_PACKAGE_VENDOR "the hangscope authors")
set(CPACK_PACKAGE_CONTACT "the hangscope authors")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "says who waits for what in a hung JVM or native process")
set(CPACK_PACKAGE_DESCRIPTION "From a core file or a live process, without an agent, a safepoint or a JDK: all threads
with mixed native and Java stacks, every lock, one wait-for graph, and the deadlock named with its cause.")
set(CPACK_RESOURCE_FILE_LICENSE "${PROJECT_SOURCE_DIR}/LICENSE")
set(CPACK_STRIP_FILES ON)
set(CPACK_GENERATOR DEB TGZ)
set(CPACK_PROJECT_CONFIG_FILE "${PROJECT_SOURCE_DIR}/cli/package-config.cmake")
set(CPACK_HS_STATIC ${HS_STATIC})

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_TOOL_PACKAGE_NAME hangscope)
set(CPACK_DEBIAN_TOOL_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_TOOL_PACKAGE_SUGGESTS "gdb, graphviz")
set(CPACK_DEBIAN_DEV_PACKAGE_NAME libhangscope-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_COMPONENT_TOOL_DESCRIPTION "${CPACK_PACKAGE_DESCRIPTION}")
set(CPACK_COMPONENT_DEV_DESCRIPTION "The library that hangscope is made of, shared and static, with its headers.")

set(CPACK_ARCHIVE_COMPONENT_INSTALL ON)
set(CPACK_ARCHIVE_STATIC_FILE_NAME
    "hangscope-${PROJECT_VERSION}-${CMAKE_SYSTEM_PROCESSOR}-static")
include(CPack)

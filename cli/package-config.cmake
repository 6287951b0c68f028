# SPDX-License-Identifier: Apache-2.0
# Read by cpack once for each generator: which components it packs, and where they will lie.
if(CPACK_GENERATOR STREQUAL "DEB")
  set(CPACK_COMPONENTS_ALL tool dev)
  set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
else()
  set(CPACK_COMPONENT_INCLUDE_TOPLEVEL_DIRECTORY ON)
  set(CPACK_COMPONENTS_ALL tool dev)
  if(CPACK_HS_STATIC)
    set(CPACK_COMPONENTS_ALL static)
    set(CPACK_STRIP_FILES OFF) # it is, and has a link to its symbols
  endif()
endif()

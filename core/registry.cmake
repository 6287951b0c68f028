# SPDX-License-Identifier: Apache-2.0
# The folder is the registry: each FOLDER/NAME.c whose text defines hs_<kind>_NAME is a plug-in.
# Writes <kind>s.def into the build tree; core/registry.c expands it, so that a missing or misnamed
# symbol is a link error. RET_SOURCES gets all sources of the folder.
function(hs_registry KIND FOLDER RET_SOURCES)
  string(TOLOWER ${KIND} kind)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${FOLDER}/*.c)
  list(SORT sources)
  set(rows "")
  foreach(source IN LISTS sources)
    get_filename_component(name ${source} NAME_WE)
    file(STRINGS ${source} definition REGEX "^const struct hs_${kind} hs_${kind}_")
    if(definition)
      string(APPEND rows "HS_${KIND}_ROW(${name})\n")
    endif()
  endforeach()
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/${kind}s.def CONTENT "${rows}" @ONLY)
  set(${RET_SOURCES} ${sources} PARENT_SCOPE)
endfunction()

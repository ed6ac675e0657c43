# What `cmake --install` installs, and the Debian package: cpack -G DEB in a Release build tree.
# Paths are Debian's: /usr/bin, /etc/fanfare, a systemd unit; the service runs as the user fanfare.
if(NOT TARGET fanfare)
  return()
endif()

install(TARGETS fanfare RUNTIME DESTINATION bin)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/systemd/fanfare.service DESTINATION lib/systemd/system)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/fanfare.conf DESTINATION /etc/fanfare
  PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ) # it may hold a password
install(FILES ${CMAKE_CURRENT_LIST_DIR}/debian/copyright DESTINATION share/doc/fanfare)
install(FILES ${CMAKE_SOURCE_DIR}/README.md DESTINATION share/doc/fanfare OPTIONAL)

find_program(GZIP_PROGRAM gzip REQUIRED)
execute_process(COMMAND ${GZIP_PROGRAM} -9 -n -c ${CMAKE_CURRENT_LIST_DIR}/debian/fanfare.1
  OUTPUT_FILE ${CMAKE_BINARY_DIR}/fanfare.1.gz COMMAND_ERROR_IS_FATAL ANY)
install(FILES ${CMAKE_BINARY_DIR}/fanfare.1.gz DESTINATION share/man/man1)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME fanfare)
set(CPACK_PACKAGE_VENDOR "fanfare")
set(CPACK_PACKAGE_CONTACT "The fanfare developers <fanfare@packages.invalid>")
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "message broker that speaks the Redis protocol")
set(CPACK_STRIP_FILES ON)
set(CPACK_SET_DESTDIR ON) # for /etc
set(CPACK_INSTALL_PREFIX /usr)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"fanfare carries publish/subscribe messages between any number of Redis
clients: an unmodified client library connects to it as it would to Redis.
.
This package holds the broker and its systemd service.")
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "adduser, init-system-helpers (>= 1.54~)")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS redis-tools)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  ${CMAKE_CURRENT_LIST_DIR}/debian/conffiles
  ${CMAKE_CURRENT_LIST_DIR}/debian/postinst
  ${CMAKE_CURRENT_LIST_DIR}/debian/prerm
  ${CMAKE_CURRENT_LIST_DIR}/debian/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)

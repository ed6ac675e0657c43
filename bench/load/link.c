/* link: a table of OpenSSL's connections beside the descriptors. */
#include "link.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fatal.h"

static SSL_CTX *context;
static SSL **secured; /* by descriptor */
static size_t secured_max;

static SSL *secured_at(int fd)
{
    return (size_t)fd < secured_max ? secured[fd] : NULL;
}

static void make_room(int fd)
{
    if ((size_t)fd < secured_max) { return; }
    size_t wanted = ((size_t)fd + 1) * 2;
    SSL **moved = alloc_or_die(wanted, sizeof *moved);
    if (secured_max > 0) { memcpy(moved, secured, secured_max * sizeof *moved); }
    free(secured);
    secured = moved;
    secured_max = wanted;
}

void link_secure(int fd)
{
    if (context == NULL) {
        context = SSL_CTX_new(TLS_client_method());
        if (context == NULL) { fatal("OpenSSL gives no context"); }
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                      SSL_MODE_RELEASE_BUFFERS);
    }
    make_room(fd);
    SSL *ssl = SSL_new(context);
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1) { fatal("OpenSSL gives no connection"); }
    if (SSL_connect(ssl) != 1) {
        fatal("TLS handshake: %s", ERR_error_string(ERR_get_error(), NULL));
    }
    secured[fd] = ssl;
}

/* What a call that moved nothing means, in errno's words. */
static ssize_t moved_nothing(SSL *ssl, int result)
{
    int error = SSL_get_error(ssl, result);
    ERR_clear_error();
    if (error == SSL_ERROR_ZERO_RETURN) { return 0; }
    bool must_wait = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
    errno = must_wait ? EAGAIN : ECONNRESET;
    return -1;
}

ssize_t link_send(int fd, const void *bytes, size_t size, int flags)
{
    SSL *ssl = secured_at(fd);
    if (ssl == NULL) { return send(fd, bytes, size, flags); }
    size_t sent = 0;
    int result = SSL_write_ex(ssl, bytes, size, &sent);
    return result == 1 ? (ssize_t)sent : moved_nothing(ssl, result);
}

ssize_t link_recv(int fd, void *bytes, size_t size, int flags)
{
    SSL *ssl = secured_at(fd);
    if (ssl == NULL) { return recv(fd, bytes, size, flags); }
    size_t received = 0;
    int result = SSL_read_ex(ssl, bytes, size, &received);
    return result == 1 ? (ssize_t)received : moved_nothing(ssl, result);
}

void link_close(int fd)
{
    SSL *ssl = secured_at(fd);
    if (ssl != NULL) {
        SSL_free(ssl);
        secured[fd] = NULL;
    }
    close(fd);
}

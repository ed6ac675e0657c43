/* server_tls: the rows of the options, and the three moments. */
#include "server_tls.h"

#include <time.h>

#include "admin/admin.h"
#include "base/log.h"

static const enum config_option option_of[TLS_TEXTS] = {
    [TLS_CERT_FILE] = CONFIG_tls_cert_file,
    [TLS_KEY_FILE] = CONFIG_tls_key_file,
    [TLS_KEY_FILE_PASS] = CONFIG_tls_key_file_pass,
    [TLS_CA_CERT_FILE] = CONFIG_tls_ca_cert_file,
    [TLS_CA_CERT_DIR] = CONFIG_tls_ca_cert_dir,
    [TLS_PROTOCOLS] = CONFIG_tls_protocols,
    [TLS_CIPHERS] = CONFIG_tls_ciphers,
    [TLS_CIPHERSUITES] = CONFIG_tls_ciphersuites,
};

static int64_t seconds_left(const struct tls_server *tls)
{
    int64_t left_s = tls_server_expiry_s(tls) - time(NULL);
    return left_s > 0 ? left_s : 0;
}

static void log_taken(const struct tls_server *tls)
{
    int64_t left_s = seconds_left(tls);
    if (left_s == 0) {
        LOG_ERROR("the TLS certificate has expired: most clients will not connect");
    } else {
        LOG_INFO("TLS certificate taken", LOG_INT("days_left", left_s / (24 * 60 * 60)));
    }
}

/* config_take: load what the options are to be. */
static bool take(void *arg, const struct settings *settings, struct buf *why)
{
    struct tls_server *tls = arg;
    struct buf text[TLS_TEXTS] = {0};
    struct tls_opts opts = {
        .clients = (enum tls_clients)settings_number(settings, CONFIG_tls_auth_clients),
        .prefers_own_ciphers = settings_number(settings, CONFIG_tls_prefer_server_ciphers) != 0,
        .caches_sessions = settings_number(settings, CONFIG_tls_session_caching) != 0,
        .sessions_max = (uint32_t)settings_number(settings, CONFIG_tls_session_cache_size),
        .session_seconds = (uint32_t)settings_number(settings, CONFIG_tls_session_cache_timeout),
    };
    for (unsigned i = 0; i < TLS_TEXTS; i++) {
        buf_append(&text[i], settings_text(settings, option_of[i]));
        buf_append(&text[i], slice_of("", 1));
        opts.text[i] = text[i].data;
    }
    enum err err = tls_server_load(tls, &opts, why);
    for (unsigned i = 0; i < TLS_TEXTS; i++) {
        buf_fini(&text[i]);
    }
    if (err == ERR_OK) {
        log_taken(tls);
    } else {
        LOG_ERROR("TLS options refused", LOG_SLICE("why", buf_slice(why)));
    }
    return err == ERR_OK;
}

static bool is_wanted(struct config *config)
{
    struct buf listen = {0};
    struct buf http = {0};
    config_text(config, CONFIG_listen, &listen);
    config_text(config, CONFIG_http_listen, &http);
    bool is_found = slice_starts_with(buf_slice(&http), SERVER_TLS_HTTP_SCHEME) ||
                    config_number(config, CONFIG_tls_port) != 0;
    struct slice rest = buf_slice(&listen);
    struct slice address;
    bool is_optional;
    while (!is_found && config_list_next(&rest, &address, &is_optional)) {
        is_found = slice_starts_with(address, SERVER_TLS_SCHEME);
    }
    buf_fini(&listen);
    buf_fini(&http);
    return is_found;
}

enum err server_tls_open(struct tls_server **out, struct config *config)
{
    if (!is_wanted(config)) { return ERR_OK; }
    struct buf why = {0};
    *out = tls_server_new();
    bool is_good = config_guard(config, take, *out, &why);
    buf_fini(&why);
    return is_good ? ERR_OK : ERR_SYSTEM;
}

void server_tls_tick(struct tls_server *tls)
{
    if (tls == NULL) { return; }
    struct buf why = {0};
    switch (tls_server_refresh(tls, &why)) {
    case TLS_SAME: break;
    case TLS_TAKEN: log_taken(tls); break;
    case TLS_REFUSED:
        LOG_ERROR("the new TLS certificate is refused, the old one stays",
                  LOG_SLICE("why", buf_slice(&why)));
        break;
    }
    buf_fini(&why);
}

void server_tls_print_metrics(const struct tls_server *tls, struct buf *out)
{
    if (tls == NULL) { return; }
    admin_print_gauge(out, "fanfare_tls_certificate_expiry_seconds",
                      "until the certificate of encrypted addresses expires; 0: it has",
                      (uint64_t)seconds_left(tls));
}

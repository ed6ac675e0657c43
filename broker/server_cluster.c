/* server_cluster: options to cluster_opts. */
#include "server_cluster.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/commands.h"
#include "cmd/agreed.h"
#include "cmd/refusals.h"
#include "cmd/service.h"
#include "consensus/membership/membership_file.h"
#include "server_data.h"
#include "session/sessions.h"
#include "trust/identity.h"
#include "trust/trust.h"

enum {
    JOIN_MAX = 64,
    ELECTION_MS_MAX = 1000, /* no longer, however patient cluster-node-timeout is */
    ELECTIONS_PER_TIMEOUT =
        2, /* a new leader is there before the leases that the old one gave end */
    HEARTBEATS_PER_ELECTION = 10,
};

struct server_cluster {
    struct broker *broker;
    struct config *config;
    struct cluster_opts opts;
    struct pmap_address join[JOIN_MAX];
    struct buf dir;
    struct buf zone;
    struct buf peer_listen;
    struct trust *trust; /* NULL: none is asked for */
    char keys_dir[SERVER_DATA_PATH_BYTES];
    char raft_host[PMAP_HOST_BYTES];
};

/* ---- options ---- */

static const char *text_of(struct config *config, enum config_option option, struct buf *text)
{
    config_text(config, option, text);
    buf_append(text, slice_of("", 1));
    return text->data;
}

/* The address in an option that has been checked, or *address left alone where it does not say. */
static void read_address(struct config *config, enum config_option option,
                         struct pmap_address *address)
{
    struct buf text = {0};
    config_text(config, option, &text);
    struct slice host;
    uint16_t port;
    if (text.len > 0) {
        CHECK(config_host_split(buf_slice(&text), &host, &port));
        snprintf(address->host, sizeof address->host, "%.*s", SLICE_ARG(host));
        if (port > 0) { address->port = port; }
    }
    buf_fini(&text);
}

static void read_join(struct server_cluster *sc)
{
    struct buf text = {0};
    config_text(sc->config, CONFIG_join, &text);
    struct slice rest = buf_slice(&text);
    struct slice item, host;
    bool is_optional;
    uint32_t count = 0;
    while (count < JOIN_MAX && config_list_next(&rest, &item, &is_optional)) {
        struct pmap_address *address = &sc->join[count++];
        CHECK(config_host_split(item, &host, &address->port));
        snprintf(address->host, sizeof address->host, "%.*s", SLICE_ARG(host));
    }
    buf_fini(&text);
    sc->opts.membership.join = sc->join;
    sc->opts.membership.join_count = count;
}

/* Where others reach this node: the advertised host, with the ports that are listened on. */
static void read_addresses(struct server_cluster *sc)
{
    struct membership_opts *m = &sc->opts.membership;
    struct pmap_address own = {.port = sc->broker->port};
    if (gethostname(own.host, sizeof own.host - 1) != 0 || own.host[0] == '\0') {
        snprintf(own.host, sizeof own.host, "localhost");
    }
    read_address(sc->config, CONFIG_advertise, &own);
    struct pmap_address peer = {0}, raft = {0};
    read_address(sc->config, CONFIG_peer_listen, &peer);
    read_address(sc->config, CONFIG_raft_listen, &raft);
    m->client = m->peer = m->raft = own;
    m->peer.port = peer.port;
    m->raft.port = raft.port;
    bool is_any = strcmp(raft.host, "*") == 0;
    snprintf(sc->raft_host, sizeof sc->raft_host, "%s", is_any ? "0.0.0.0" : raft.host);
    m->raft_listen_host = sc->raft_host;
    m->raft_listen_port = raft.port;
    snprintf(sc->broker->host, sizeof sc->broker->host, "%s", own.host);
    sc->broker->port = own.port;
}

static void read_options(struct server_cluster *sc, const char *dir)
{
    struct config *config = sc->config;
    struct cluster_opts *opts = &sc->opts;
    struct membership_opts *m = &opts->membership;
    buf_append_str(&sc->dir, dir);
    buf_append(&sc->dir, slice_of("", 1));
    m->dir = sc->dir.data;
    m->node_id = sc->broker->id;
    m->name = sc->broker->name;
    m->zone = text_of(config, CONFIG_zone, &sc->zone);
    m->expect = (uint32_t)config_number(config, CONFIG_expect);
    m->disk_reserve_bytes = (uint64_t)config_number(config, CONFIG_disk_reserve);
    m->partition_count = (uint32_t)config_number(config, CONFIG_partitions);
    m->key_layout = 1 + sc->broker->sharded_databases;
    m->replicas = (uint32_t)config_number(config, CONFIG_replicas);
    m->node_timeout_ms = (uint32_t)config_number(config, CONFIG_cluster_node_timeout);
    m->election_ms = m->node_timeout_ms / ELECTIONS_PER_TIMEOUT;
    if (m->election_ms > ELECTION_MS_MAX) { m->election_ms = ELECTION_MS_MAX; }
    m->heartbeat_ms = m->election_ms / HEARTBEATS_PER_ELECTION;
    read_addresses(sc);
    read_join(sc);
    sc->broker->agreed = agreed_new(sc->broker);
    m->users = (struct membership_users){
        .arg = sc->broker->agreed, .on_roster = agreed_on_roster, .own = agreed_own};
    opts->refusals = (struct cluster_refusals_ops){
        .arg = sc->broker, .tell = refusals_tell, .forget = refusals_forget};
    opts->peer_listen = text_of(config, CONFIG_peer_listen, &sc->peer_listen);
    opts->directory = sc->broker->directory;
    opts->worker_count = sc->broker->worker_count;
    opts->timeout_ms = (uint32_t)config_number(config, CONFIG_cluster_timeout);
    opts->link_bytes_max = (uint64_t)config_number(config, CONFIG_link_bytes);
}

/* ---- who the other nodes are ---- */

static bool is_loopback(const char *address)
{
    return strncmp(address, "127.", 4) == 0 || strncmp(address, "[::1]:", 6) == 0 ||
           strncmp(address, "localhost:", 10) == 0;
}

/* With a secret or certificates, or where nobody else can come: else whoever reaches these addresses is a node. */
static enum err check_reach(struct server_cluster *sc)
{
    struct buf raft_listen = {0};
    bool is_safe = (is_loopback(sc->opts.peer_listen) &&
                    is_loopback(text_of(sc->config, CONFIG_raft_listen, &raft_listen))) ||
                   config_number(sc->config, CONFIG_cluster_trust_network) != 0;
    buf_fini(&raft_listen);
    if (is_safe) { return ERR_OK; }
    LOG_ERROR(
        "whoever reaches peer-listen or raft-listen would be a node of the cluster: give all "
        "nodes one secret (cluster-secret-file), or certificates (cluster-tls yes), listen on "
        "this machine only, or, where nobody else reaches them, say cluster-trust-network yes");
    return ERR_SYSTEM;
}

static int64_t seconds_left(const struct identity *identity)
{
    int64_t left_s = identity_expiry_s(identity) - time(NULL);
    return left_s > 0 ? left_s : 0;
}

static void log_certificate(const struct identity *identity)
{
    int64_t left_s = seconds_left(identity);
    if (left_s == 0) {
        LOG_ERROR("the node's certificate has expired: no other node takes it");
    } else {
        LOG_INFO("the node's certificate was taken", LOG_INT("days_left", left_s / (24 * 60 * 60)));
    }
}

static enum err read_identity(struct server_cluster *sc, struct identity **out, struct buf *why)
{
    static const enum config_option option[] = {CONFIG_cluster_ca_file, CONFIG_cluster_cert_file,
                                                CONFIG_cluster_key_file};
    struct buf text[COUNT_OF(option)] = {0};
    const char *file[COUNT_OF(option)];
    bool are_given = true;
    for (unsigned i = 0; i < COUNT_OF(option); i++) {
        are_given = are_given && !config_text_is_empty(sc->config, option[i]);
        file[i] = text_of(sc->config, option[i], &text[i]);
    }
    enum err err = ERR_INVALID;
    if (are_given) {
        const struct identity_opts opts = {sc->broker->name, file[0], file[1], file[2], 0};
        err = identity_new(out, &opts, why);
    } else {
        buf_append_str(why, "cluster-tls needs cluster-ca-file, cluster-cert-file and "
                            "cluster-key-file");
    }
    for (unsigned i = 0; i < COUNT_OF(option); i++) {
        buf_fini(&text[i]);
    }
    return err;
}

/* *out stays NULL where nothing is asked for. */
static enum err read_trust(struct server_cluster *sc, struct trust **out, struct buf *why)
{
    struct trust_opts opts = {
        .tls = (enum trust_tls)config_number(sc->config, CONFIG_cluster_tls),
        .is_secret_optional = config_number(sc->config, CONFIG_cluster_secret_optional) != 0,
    };
    struct buf path = {0};
    bool has_secret = !config_text_is_empty(sc->config, CONFIG_cluster_secret_file);
    if (has_secret) { opts.secret_file = text_of(sc->config, CONFIG_cluster_secret_file, &path); }
    enum err err = ERR_OK;
    if (opts.tls != TRUST_TLS_NO) { err = read_identity(sc, &opts.identity, why); }
    if (err == ERR_OK && (has_secret || opts.tls != TRUST_TLS_NO)) {
        err = trust_new(out, &opts, why);
    }
    buf_fini(&path);
    return err;
}

static enum err open_trust(struct server_cluster *sc)
{
    struct buf why = {0};
    enum err err = read_trust(sc, &sc->trust, &why);
    if (err != ERR_OK) {
        LOG_ERROR("no node can prove who it is", LOG_SLICE("why", buf_slice(&why)));
    }
    buf_fini(&why);
    if (err != ERR_OK) { return ERR_SYSTEM; }
    if (sc->trust != NULL && trust_identity(sc->trust) != NULL) {
        log_certificate(trust_identity(sc->trust));
    }
    sc->opts.membership.trust = sc->trust;
    return trust_takes_anybody(sc->trust) ? check_reach(sc) : ERR_OK;
}

static void refresh_secret(struct trust *trust)
{
    struct buf why = {0};
    switch (trust_refresh(trust, &why)) {
    case TRUST_SAME: break;
    case TRUST_TAKEN: LOG_INFO("the cluster's secret was read again"); break;
    case TRUST_REFUSED:
        LOG_ERROR("the cluster's secret cannot be read, the old one stays",
                  LOG_SLICE("why", buf_slice(&why)));
        break;
    }
    buf_fini(&why);
}

static void refresh_identity(struct identity *identity, bool is_asked)
{
    struct buf why = {0};
    if (identity == NULL) { return; }
    switch (identity_refresh(identity, is_asked, &why)) {
    case IDENTITY_SAME: break;
    case IDENTITY_TAKEN: log_certificate(identity); break;
    case IDENTITY_REFUSED:
        LOG_ERROR("the node's new certificate is refused, the old one stays",
                  LOG_SLICE("why", buf_slice(&why)));
        break;
    }
    buf_fini(&why);
}

void server_cluster_tick(struct server_cluster *sc)
{
    if (sc == NULL || sc->trust == NULL) { return; }
    refresh_secret(sc->trust);
    refresh_identity(trust_identity(sc->trust), false);
}

void server_cluster_reread(struct server_cluster *sc)
{
    if (sc == NULL || sc->trust == NULL) { return; }
    refresh_identity(trust_identity(sc->trust), true);
}

void server_cluster_print_trust(const struct server_cluster *sc, struct buf *out)
{
    if (sc == NULL || sc->trust == NULL || trust_identity(sc->trust) == NULL) { return; }
    admin_print_gauge(out, "fanfare_cluster_certificate_expiry_seconds",
                      "until the certificate by which other nodes know this one expires; 0: it has",
                      (uint64_t)seconds_left(trust_identity(sc->trust)));
}

/* ---- life ---- */

/* Do the options, or the node's past, say that it belongs to a cluster? */
static enum err find_cluster(struct config *config, const char *dir, bool *is_clustered)
{
    struct cluster_file *file = mem_new0(sizeof *file);
    enum err err = cluster_file_load(dir, file);
    *is_clustered = config_number(config, CONFIG_expect) > 0 ||
                    !config_text_is_empty(config, CONFIG_join) || file->state >= CLUSTER_FOUNDING;
    mem_free(file);
    return err;
}

static void attach_commands(struct server_cluster *sc, uint32_t worker)
{
    struct broker *broker = sc->broker;
    const struct commands_opts opts = {
        .cluster = broker->cluster,
        .worker = worker,
        .mailbox = broker->mailbox[worker],
        .timeout_ms = sc->opts.timeout_ms,
        .node_id = broker->id,
    };
    broker->service[worker]->sessions.commands = commands_new(&opts);
}

enum err server_cluster_new(struct server_cluster **out, struct broker *broker,
                            struct config *config, const char *dir)
{
    *out = NULL;
    bool is_clustered;
    enum err err = find_cluster(config, dir, &is_clustered);
    if (err != ERR_OK) { return err; }
    if (!is_clustered) {
        struct pmap_address own = {.port = broker->port};
        read_address(config, CONFIG_advertise, &own);
        snprintf(broker->host, sizeof broker->host, "%s", own.host);
        broker->port = own.port;
        return ERR_OK;
    }
    struct server_cluster *sc = mem_new0(sizeof *sc);
    sc->broker = broker;
    sc->config = config;
    read_options(sc, dir);
    err = open_trust(sc);
    if (err == ERR_OK) {
        err = server_data_opts(&sc->opts.data, sc->keys_dir, broker, config, dir);
    }
    if (err == ERR_OK) { err = cluster_new(&broker->cluster, &sc->opts); }
    if (err != ERR_OK) {
        server_cluster_free(sc);
        return err;
    }
    for (uint32_t i = 0; i < broker->worker_count; i++) {
        cluster_attach(broker->cluster, i, broker->worker[i], broker->service[i]->fanout);
        attach_commands(sc, i);
    }
    *out = sc;
    return ERR_OK;
}

enum err server_cluster_start(struct server_cluster *sc)
{
    if (sc == NULL) { return ERR_OK; }
    const struct membership_opts *m = &sc->opts.membership;
    LOG_INFO("in a cluster", LOG_STR("advertise", m->client.host), LOG_UINT("port", m->client.port),
             LOG_UINT("peer_port", m->peer.port), LOG_UINT("raft_port", m->raft.port),
             LOG_UINT("join", m->join_count), LOG_UINT("expect", m->expect),
             LOG_STR("zone", m->zone));
    return cluster_start(sc->broker->cluster);
}

void server_cluster_stop(struct server_cluster *sc)
{
    if (sc != NULL) { cluster_stop(sc->broker->cluster); }
}

void server_cluster_free(struct server_cluster *sc)
{
    if (sc == NULL) { return; }
    for (uint32_t i = 0; sc->broker->cluster != NULL && i < sc->broker->worker_count; i++) {
        commands_free(sc->broker->service[i]->sessions.commands);
        sc->broker->service[i]->sessions.commands = NULL;
    }
    cluster_free(sc->broker->cluster);
    sc->broker->cluster = NULL;
    agreed_free(sc->broker->agreed);
    sc->broker->agreed = NULL;
    buf_fini(&sc->dir);
    buf_fini(&sc->zone);
    buf_fini(&sc->peer_listen);
    trust_free(sc->trust);
    mem_free(sc);
}

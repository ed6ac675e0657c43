/* certificate: clients who are known by what their certificate says (tls-auth-clients-user). Thread: the session's worker. */
#ifndef FANFARE_CMD_CERTIFICATE_H
#define FANFARE_CMD_CERTIFICATE_H

struct caller;

/* An encrypted client has come: log it in as the user whom its certificate names. Where there is none of this name, or he is off, ACL
 * LOG says so, and the client stays what every new one is. */
void certificate_login(const struct caller *caller);

#endif

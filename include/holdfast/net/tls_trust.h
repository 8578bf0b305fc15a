// How long what one handshake has verified may be taken for verified in later ones. A session that
// is resumed brings no certificates (RFC 8446 §2.2, RFC 5077), and each one gives the next: so it
// carries the end of the chain that its first handshake was verified by, in what OpenSSL keeps for
// us beside a session, hands on to those that come of it, and seals into a server's ticket.
//
// Contract: any thread. The time is the one that OpenSSL verifies by, the system's.
#pragma once

struct ssl_st;
struct ssl_session_st;

namespace holdfast::net {

/// Notes in `session` when what `connection` has verified in this handshake ends: the first of the
/// chain's certificates that does. A resumed session keeps what it has.
void note_end_of_trust(ssl_st& connection, ssl_session_st& session);

/// True if it has ended: the next handshake has to be a whole one.
bool trust_has_ended(ssl_session_st& session);

}  // namespace holdfast::net

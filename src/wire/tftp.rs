//! TFTP packets (RFC 1350) and option negotiation (RFC 2347 to 2349, RFC 7440).

//! TFTP on UDP sockets.

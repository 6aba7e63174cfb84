//! DNS over UDP and TCP, with forwarding of what is not ours.

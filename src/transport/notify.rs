//! Tells systemd how the daemon is (`sd_notify`).

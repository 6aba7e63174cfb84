//! Links and addresses of the head, over netlink.

//! Floor 3: async shells, the only room with sockets, files, tasks and clocks. A shell waits for a packet,
//! a command or a deadline, asks the engine once, carries out the answer, and waits again.

pub mod acme;
pub mod audit;
pub mod blobs;
pub mod clock;
pub mod dhcp;
pub mod dns;
pub mod dossiers;
pub mod egress;
pub mod http;
pub mod journal;
pub mod link;
pub mod loaders;
pub mod logs;
pub mod measures;
pub mod nbd;
pub mod notify;
pub mod oidc;
pub mod recorder;
pub mod sessions;
pub mod swarm;
pub mod tasks;
pub mod tftp;
pub mod vault;
pub mod webhook;

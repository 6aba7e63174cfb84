//! Why a message gets no answer, or an answer without boot data. Closed: each is a counter and a sentence.

macro_rules! reasons {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident $name:literal $sentence:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $type { $($(#[$variant_doc])* $variant,)* }

        impl $type {
            pub const ALL: &[$type] = &[$($type::$variant),*];

            /// The stable name under which it is counted.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $($type::$variant => $name,)* }
            }

            /// What happened, for people.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self { $($type::$variant => $sentence,)* }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.sentence())
            }
        }
    };
}

reasons! {
    /// Why no answer is sent.
    Reason {
        NotARequest "not_a_request" "this is a server's message, not a client's",
        PlainBootp "plain_bootp" "it is plain BOOTP: option 53 is missing",
        UnexpectedType "unexpected_type" "its message type is none that a client sends to a server",
        NoIdentity "no_identity" "the client names neither a hardware address nor a client identifier",
        NoNetwork "no_network" "no configured network holds the address or link it came from",
        DhcpOff "dhcp_off" "DHCP is switched off on this network",
        NoHead "no_head" "the head has no address that machines on this network could reach",
        NodeIgnored "node_ignored" "the node's policy is to ignore it",
        UnknownIgnored "unknown_ignored" "the machine is not declared, and the network ignores unknown machines",
        PoolEmpty "pool_empty" "no address is declared for it here, and the pool has none left",
        OtherServerChosen "other_server_chosen" "the client took another server's offer",
        OfferGone "offer_gone" "the address it selected is no longer free; it will ask anew",
        NothingRequested "nothing_requested" "the request names no address",
        Declined "declined" "the client found its address in use; the address is quarantined",
        DeclinedDeclared "declined_declared" "the client found its declared address in use by somebody else",
        DeclineNotIts "decline_not_its" "it declines an address that is not its own",
        Released "released" "the client gave its address back",
        ReleaseNotIts "release_not_its" "it releases an address that is not its own",
        InformOutside "inform_outside" "it asks for options from an address outside of the network",
        ProxyLeasesNothing "proxy_leases_nothing" "the network's addresses are another server's; only boot data is ours",
        ProxyNothingToOffer "proxy_nothing_to_offer" "it asks for an address only, which another server gives here",
    }
}

reasons! {
    /// Why an answer carries no boot data.
    NoBoot {
        System "system" "an operating system asks; it needs an address only",
        Management "management" "a management controller boots nothing",
        LocalDisk "local_disk" "the node is to boot its local disk",
        ChainLoop "chain_loop" "this iPXE was handed ours moments ago and came back: a loop",
        UnsupportedArch "unsupported_arch" "no loader exists for this processor or firmware",
        NoHttps "no_https" "boot.https is on, and this iPXE was built without HTTPS",
        NoHardwareAddress "no_hardware_address" "no hardware address is known under which to find its script",
        UnknownFirmware "unknown_firmware" "the architecture number is unknown",
    }
}

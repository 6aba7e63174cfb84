//! What a client says about itself: its claims in options 12, 57, 60, 61, 77, 93, 97 and 175.

use std::net::Ipv4Addr;

use crate::base::Uuid;
use crate::wire::dhcp::{Message, Options, code};

/// What an iPXE can do, from option 175: encapsulated options, each a flag (iPXE `features.h`).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct IpxeFeatures {
    pub http: bool,
    pub https: bool,
    pub bzimage: bool,
    pub efi: bool,
}

const FEATURE_HTTP: u8 = 0x13;
const FEATURE_HTTPS: u8 = 0x14;
const FEATURE_BZIMAGE: u8 = 0x18;
const FEATURE_EFI: u8 = 0x24;

impl Message {
    /// Option 50.
    #[must_use]
    pub fn requested_address(&self) -> Option<Ipv4Addr> {
        self.options.address(code::REQUESTED_ADDRESS).filter(|address| !address.is_unspecified())
    }

    /// Option 54.
    #[must_use]
    pub fn server_id(&self) -> Option<Ipv4Addr> {
        self.options.address(code::SERVER_ID)
    }

    /// True if option 55 asks for this option.
    #[must_use]
    pub fn asks_for(&self, code: u8) -> bool {
        self.options.get(code::PARAMETER_LIST).is_some_and(|list| list.contains(&code))
    }

    /// Option 57. Firmware lies here: edk2 says 65280 in its REQUEST.
    #[must_use]
    pub fn max_size(&self) -> Option<u16> {
        self.options.number(code::MAX_SIZE)
    }

    /// Option 60 as text.
    #[must_use]
    pub fn vendor_class(&self) -> Option<String> {
        self.options.text(code::VENDOR_CLASS)
    }

    /// Option 12 as text.
    #[must_use]
    pub fn host_name(&self) -> Option<String> {
        self.options.text(code::HOST_NAME).filter(|name| !name.is_empty())
    }

    /// Option 61, type octet included.
    #[must_use]
    pub fn client_id(&self) -> Option<&[u8]> {
        self.options.get(code::CLIENT_ID).filter(|id| !id.is_empty())
    }

    /// Option 93: all architectures the client names, best first. An odd octet at the end is ignored.
    #[must_use]
    pub fn architectures(&self) -> Vec<u16> {
        let list = self.options.get(code::ARCH).unwrap_or_default();
        list.chunks_exact(2).filter_map(|pair| pair.try_into().ok().map(u16::from_be_bytes)).collect()
    }

    /// Option 97 of type 0.
    #[must_use]
    pub fn uuid(&self) -> Option<Uuid> {
        let (kind, octets) = self.options.get(code::UUID)?.split_first()?;
        if *kind != 0 {
            return None;
        }
        Uuid::from_wire(octets.try_into().ok()?)
    }

    /// Option 77: a list of length-prefixed classes (RFC 3004), or, if the lengths do not add up, one bare
    /// class (what iPXE sends).
    #[must_use]
    pub fn user_classes(&self) -> Vec<Vec<u8>> {
        let Some(value) = self.options.get(code::USER_CLASS) else { return Vec::new() };
        let (mut rest, mut classes) = (value, Vec::new());
        while let Some((&length, tail)) = rest.split_first() {
            match tail.split_at_checked(usize::from(length)).filter(|_| length > 0) {
                Some((class, tail)) => {
                    classes.push(class.to_vec());
                    rest = tail;
                }
                None => return vec![value.to_vec()],
            }
        }
        classes
    }

    /// True if an iPXE (or its ancestor gPXE) speaks: user class, or option 175.
    #[must_use]
    pub fn is_ipxe(&self) -> bool {
        self.options.contains(code::IPXE)
            || self.user_classes().iter().any(|class| class == b"iPXE" || class == b"gPXE")
    }

    /// What the iPXE can do. Without option 175 nothing is known, and nothing is assumed.
    #[must_use]
    pub fn ipxe_features(&self) -> IpxeFeatures {
        let mut features = Options::default();
        features.scan(self.options.get(code::IPXE).unwrap_or_default());
        let has = |code: u8| features.get(code).is_some_and(|value| value.iter().any(|octet| *octet != 0));
        IpxeFeatures {
            http: has(FEATURE_HTTP),
            https: has(FEATURE_HTTPS),
            bzimage: has(FEATURE_BZIMAGE),
            efi: has(FEATURE_EFI),
        }
    }
}

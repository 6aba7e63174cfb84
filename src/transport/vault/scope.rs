//! For whom an authority may speak: the names and networks of this site, written into its root (RFC 5280 section
//! 4.2.1.10), so that whoever trusts it for this head trusts it for no bank.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rcgen::CustomExtension;
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension, X509Certificate};

use crate::base::Cidr;

/// id-ce-nameConstraints.
const NAME_CONSTRAINTS: [u64; 4] = [2, 5, 29, 30];

const SEQUENCE: u8 = 0x30;
/// `permittedSubtrees [0]`.
const PERMITTED: u8 = 0xa0;
/// `dNSName [2]` and `iPAddress [7]` of a `GeneralName`.
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

/// Names with all below them, and subnets.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Scope {
    pub names: BTreeSet<String>,
    pub networks: Vec<Cidr>,
}

impl Scope {
    /// True if a certificate may hold this name or address.
    #[must_use]
    pub fn permits(&self, name: &str) -> bool {
        match name.parse::<IpAddr>() {
            Ok(address) => self.networks.iter().any(|network| network.contains(address)),
            Err(_) => self.names.iter().any(|known| {
                name.strip_suffix(known.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }),
        }
    }

    /// The extension. `critical`: whoever cannot read it must not go on. RFC 5280 wants that, and iPXE cannot.
    pub(crate) fn extension(&self, critical: bool) -> CustomExtension {
        let names = self.names.iter().map(|name| tlv(DNS_NAME, name.as_bytes()));
        let networks = self.networks.iter().map(|network| tlv(IP_ADDRESS, &octets(network)));
        let subtrees: Vec<u8> = names.chain(networks).flat_map(|base| tlv(SEQUENCE, &base)).collect();
        let value = tlv(SEQUENCE, &tlv(PERMITTED, &subtrees));
        let mut extension = CustomExtension::from_oid_content(&NAME_CONSTRAINTS, value);
        extension.set_criticality(critical);
        extension
    }

    /// What the root certificate says; None: it says nothing, and speaks for everybody.
    pub(crate) fn of(root: &[u8]) -> Option<Scope> {
        let (_, certificate) = X509Certificate::from_der(root).ok()?;
        let constraints =
            certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::NameConstraints(constraints) => constraints.permitted_subtrees.clone(),
                _ => None,
            })?;
        let mut scope = Scope::default();
        for subtree in constraints {
            match subtree.base {
                GeneralName::DNSName(name) => drop(scope.names.insert(name.to_owned())),
                GeneralName::IPAddress(octets) => scope.networks.extend(network(octets)),
                _ => {}
            }
        }
        Some(scope)
    }
}

/// Address and mask.
fn octets(network: &Cidr) -> Vec<u8> {
    let prefix = u32::from(network.prefix());
    match network.address() {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix)).unwrap_or(0);
            [(address.to_bits() & mask).to_be_bytes(), mask.to_be_bytes()].concat()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix)).unwrap_or(0);
            [(address.to_bits() & mask).to_be_bytes(), mask.to_be_bytes()].concat()
        }
    }
}

fn network(octets: &[u8]) -> Option<Cidr> {
    let (address, mask) = octets.split_at_checked(octets.len() / 2)?;
    let prefix = u8::try_from(mask.iter().map(|octet| octet.count_ones()).sum::<u32>()).ok()?;
    let v4 = <[u8; 4]>::try_from(address).map(IpAddr::from);
    let address = v4.or_else(|_| <[u8; 16]>::try_from(address).map(IpAddr::from)).ok()?;
    Cidr::new(address, prefix)
}

/// One value in DER.
fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let octets = length.to_be_bytes();
            let octets: Vec<u8> = octets.into_iter().skip_while(|octet| *octet == 0).collect();
            out.push(0x80 | u8::try_from(octets.len()).unwrap_or(8));
            out.extend(octets);
        }
    }
    out.extend(value);
    out
}

#[cfg(test)]
mod tests {
    use crate::transport::vault::scope::{Scope, tlv};

    fn scope() -> Scope {
        let networks = ["172.16.0.254/24", "2001:db8::1/64", "192.0.2.7/32"];
        Scope {
            names: ["demo.example".to_owned(), "localhost".to_owned()].into(),
            networks: networks.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn a_scope_holds_its_names_all_below_them_and_its_networks() {
        let scope = scope();
        for good in
            ["demo.example", "nid001.demo.example", "localhost", "172.16.0.1", "2001:db8::7", "192.0.2.7"]
        {
            assert!(scope.permits(good), "{good}");
        }
        for bad in
            ["example", "xdemo.example", "demo.example.org", "172.16.1.1", "192.0.2.8", "2001:db9::1", ""]
        {
            assert!(!scope.permits(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for many in [0, 30, 3000] {
            let mut scope = scope();
            scope.names.extend((0..many).map(|number| format!("n{number}.example")));
            let key = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::default();
            params.custom_extensions.push(scope.extension(true));
            let read = Scope::of(params.self_signed(&key).unwrap().der()).unwrap();
            assert_eq!(read.names, scope.names);
            for address in ["172.16.0.9", "2001:db8::9", "192.0.2.7"] {
                assert!(read.permits(address), "{address}");
            }
            assert!(!read.permits("172.16.1.9") && !read.permits("192.0.2.8"));
            assert_eq!(read.networks.len(), 3);
        }
        let key = rcgen::KeyPair::generate().unwrap();
        assert_eq!(Scope::of(rcgen::CertificateParams::default().self_signed(&key).unwrap().der()), None);
        assert_eq!(Scope::of(b"no certificate"), None);
    }

    #[test]
    fn lengths_are_written_as_der_wants_them() {
        assert_eq!(tlv(4, &[0; 127])[..2], [4, 127]);
        assert_eq!(tlv(4, &[0; 128])[..3], [4, 0x81, 128]);
        assert_eq!(tlv(4, &[0; 256])[..4], [4, 0x82, 1, 0]);
    }
}

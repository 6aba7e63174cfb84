//! Reads the query of a boot script request. Firmware and loaders leave settings empty, escape oddly and add
//! their own; only a malformed hardware address is an error, because it would name the wrong machine.

use std::net::Ipv4Addr;

use crate::base::mac::MacError;
use crate::base::{Mac, Uuid};
use crate::engine::boot::Request;
use crate::engine::image::path::percent_decode;
use crate::model::Arch;

/// Longest query that is read.
const QUERY_BYTES_MAX: usize = 2048;

/// Fields that are looked at.
const FIELDS_MAX: usize = 32;

/// Reads `mac`, `uuid`, `arch` and `try`; the first of each counts, empty ones are as good as absent.
///
/// # Errors
/// `mac` is there and is no hardware address.
pub fn parse(query: &str, peer: Option<Ipv4Addr>) -> Result<Request, MacError> {
    let mut request = Request { mac: None, address: peer, uuid: None, arch: None, attempt: 0 };
    let query = query.get(..QUERY_BYTES_MAX.min(query.len())).unwrap_or_default();
    for field in query.split('&').take(FIELDS_MAX) {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        let value = percent_decode(value).unwrap_or_default();
        let value = value.trim();
        match key {
            _ if value.is_empty() => {}
            "mac" if request.mac.is_none() => request.mac = Some(value.parse::<Mac>()?),
            "uuid" => request.uuid = request.uuid.or_else(|| value.parse::<Uuid>().ok()),
            "arch" => request.arch = request.arch.or_else(|| Arch::from_name(value)),
            "try" => request.attempt = value.parse().unwrap_or(request.attempt),
            _ => {}
        }
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use crate::api::boot::query::parse;
    use crate::model::Arch;

    #[test]
    fn what_ipxe_fills_in_is_read() {
        let query =
            "mac=52-54-00-be-ef-01&uuid=11223344-5566-7788-99aa-bbccddeeff00&arch=x86_64&try=3&platform=efi";
        let request = parse(query, None).unwrap();
        assert_eq!(request.mac.unwrap().to_string(), "52:54:00:be:ef:01");
        assert_eq!(request.uuid.unwrap().to_string(), "11223344-5566-7788-99aa-bbccddeeff00");
        assert_eq!((request.arch, request.attempt), (Some(Arch::X86_64), 3));
    }

    #[test]
    fn odd_queries_are_taken_as_they_come() {
        assert_eq!(
            parse("mac=52%3A54%3A00%3Abe%3Aef%3A01", None).unwrap().mac.unwrap().oui(),
            [0x52, 0x54, 0]
        );
        assert_eq!(parse("mac=&uuid=${uuid}&arch=%zz&&&=", None).unwrap().mac, None);
        assert_eq!(parse("", Some([192, 0, 2, 1].into())).unwrap().address, Some([192, 0, 2, 1].into()));
        assert!(parse("mac=nonsense", None).is_err());
    }
}

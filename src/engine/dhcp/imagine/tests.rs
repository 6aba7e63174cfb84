//! The imagined messages are, octet for octet, those of real firmware (captured 2026-11).

use crate::base::{Mac, Uuid};
use crate::engine::dhcp::imagine::{Client, Imagined};
use crate::model::Arch;
use crate::wire::dhcp::{Message, code};

const EDK2_PXE: &str = "63825363350101390205c037230102030405060c0d0f111216171c28292a2b3233363a3b3c4243618081828384858687611100443322116655887799aabbccddeeff005e030103005d0200073c20505845436c69656e743a417263683a30303030373a554e44493a303033303030ff";
const EDK2_HTTP: &str = "63825363350101390205c0371b0102030405060c0d0f111216171c28292a2b3233363a3b3ce84361611100443322116655887799aabbccddeeff005e030103005d0200103c2148545450436c69656e743a417263683a30303031363a554e44493a303033303030ff";
const IPXE_2019: &str = "63825363350101390205c05d0200005e030102013c20505845436c69656e743a417263683a30303030303a554e44493a3030323030314d04695058453717010306070c0f111a2b3c4243778081828384858687afcbaf30b105011af41000eb030100001701012201011301011101012701011901012901011001022101011501011801011201013d0701525400aa0001611100443322116655887799aabbccddeeff00ff";
const IPXE_2025: &str = "63825363350101390205c05d0200075e0301030a3c09505845436c69656e744d04695058453718010306070c0f111a2a2b3c4243778081828384858687afcbaf2ab105011af41000eb030100002601011701012701012401011301011401011101012901011501011201013d0701525400aa000361110000000000000000000000000000000000ff";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn options_of(message: &Message) -> String {
    hex(message.emit().get(236..).unwrap())
}

fn imagined(client: Client, mac: u8, uuid: bool) -> Imagined {
    let uuid = uuid.then(|| "11223344-5566-7788-99aa-bbccddeeff00".parse::<Uuid>().unwrap());
    Imagined { client, arch: Arch::X86_64, mac: Mac([0x52, 0x54, 0, 0xaa, 0, mac]), uuid, xid: 1 }
}

#[test]
fn edk2_is_imagined_as_it_speaks() {
    assert_eq!(options_of(&imagined(Client::UefiPxe, 2, true).discover()), EDK2_PXE);
    assert_eq!(options_of(&imagined(Client::UefiHttp, 2, true).discover()), EDK2_HTTP);
}

#[test]
fn ipxe_is_imagined_as_it_speaks() {
    assert_eq!(options_of(&imagined(Client::IpxeRom, 1, true).discover()), IPXE_2019);
    let mut chained = imagined(Client::Ipxe, 3, false).discover();
    // This one had been loaded through a reply with the vendor class "PXEClient", which it repeats.
    chained.options.set(code::VENDOR_CLASS, *b"PXEClient");
    assert_eq!(options_of(&chained), IPXE_2025);
}

#[test]
fn every_imagined_message_survives_the_wire() {
    for (client, name) in Client::ALL {
        let message = imagined(client, 1, true).discover();
        assert_eq!(Message::parse(&message.emit()).unwrap(), message, "{name}");
        assert_eq!(Client::from_name(name), Some(client));
    }
}

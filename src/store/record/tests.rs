use crate::model::{
    Assignment, Bmc, BootRecord, BootSession, Document, Dossier, Group, Identity, Lease, Node, Profile,
    Secret, Sighting,
};
use crate::store::StoreError;
use crate::store::record::Record;

/// Every record that version 1 ever wrote must load for ever, and be written the same. Do not change these
/// lines: if one fails, the new code is wrong or a new version is due.
const NODE: &str = r#"{"id":7,"name":"nid007","xname":"x1000c0s0b0n0","nid":7,"uuid":"11223344-5566-7788-99aa-bbccddeeff00","arch":"x86_64","role":"Compute","groups":["compute","rack1"],"interfaces":[{"name":"management","mac":"00:00:5e:00:53:07","addresses":["192.0.2.7"]}],"bmc":"bmc007","policy":"local","loader":"ipxe-amd64.efi","annotations":{"k":"v"}}"#;
const SMALL_NODE: &str =
    r#"{"id":8,"name":"nid008","interfaces":[{"mac":"00:00:5e:00:53:08","addresses":[]}],"policy":"serve"}"#;
const BMC: &str = r#"{"name":"bmc007","xname":"x1000c0s0b0","mac":"00:00:5e:00:53:b7","address":"192.0.2.107","fqdn":"bmc007.example","annotations":{}}"#;
const GROUP: &str =
    r#"{"name":"compute","description":"all of them","priority":-3,"loader":null,"annotations":{}}"#;
const PROFILE: &str = r#"{"name":"rescue","description":"","target":{"linux":{"kernel":"k","initrds":["a","b"],"params":"quiet"}}}"#;
const LOCAL: &str = r#"{"name":"disk","description":"","target":"local_disk"}"#;
const DOCUMENT: &str = r#"{"shelf":"smd.partition","id":"p1","body":"{\"name\":\"p1\"}"}"#;
const ASSIGNMENTS: [&str; 9] = [
    r#"{"selector":{"mac":"00:00:5e:00:53:07"},"once":true,"boot":{"profile":"rescue"}}"#,
    r#"{"selector":{"node":7},"once":false,"boot":{"target":{"script":"echo"}}}"#,
    r#"{"selector":{"group":"compute"},"once":false,"boot":{"target":{"chain":"http://192.0.2.1/x"}}}"#,
    r#"{"selector":{"role":"compute"},"once":false,"boot":{"profile":"rescue"}}"#,
    r#"{"selector":"default","once":false,"boot":{"profile":"rescue"}}"#,
    r#"{"selector":{"xname":"x1000c0s0b0n0"},"once":false,"boot":{"profile":"rescue"}}"#,
    r#"{"selector":{"nid":7},"once":false,"boot":{"profile":"rescue"}}"#,
    r#"{"selector":{"unknown":"x86_64"},"once":false,"boot":{"profile":"rescue"}}"#,
    r#"{"selector":{"unknown":null},"once":false,"boot":{"profile":"rescue"}}"#,
];
const SECRETS: [&str; 3] = [
    r#"{"name":"keytab","scope":{"node":7},"min_level":"2p","what":{"file":{"path":"/etc/krb5.keytab","owner":"root","group":"root","mode":256}},"rotate":"next-boot","versions":[{"number":3,"created":2,"by":"alice","sealed":"AQID"}]}"#,
    r#"{"name":"munge","scope":"site","min_level":"1","what":"munge_key","rotate":"coordinated","versions":[]}"#,
    r#"{"name":"db","scope":{"group":"login"},"min_level":"0","what":{"env":{"file":"/etc/app","name":"DB"}},"rotate":"push","versions":[]}"#,
];
const LEASE: &str = r#"{"address":"192.0.2.200","mac":"00:00:5e:00:53:99","client_id":null,"network":"boot","state":"bound","starts":1,"expires":2,"host_name":"x"}"#;
const IPOIB_LEASE: &str = r#"{"address":"192.0.2.201","mac":null,"client_id":[255,0,1],"network":"boot","state":"declined","starts":1,"expires":2,"host_name":null}"#;
const SIGHTING: &str = r#"{"mac":"00:00:5e:00:53:99","first":1,"last":2,"requests":3,"network":"boot","vendor_class":"PXEClient","arch":"arm64","firmware":"UEFI HTTP","uuid":null,"circuit":"eth7","host_name":null}"#;
const SESSION: &str = r#"{"id":"aebagbafaydqqcikbmga2dqpca","node":7,"state":"claimed","armed_by":"dhcp","held":null,"mac":"00:00:5e:00:53:07","address":"192.0.2.7","relay":null,"uuid":null,"arch":"x86_64","epoch":1,"sequence":9,"made":1,"expires":2,"grants":["AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="],"wrong":1,"claim":{"of":"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=","to":"192.0.2.7:700","at":3,"reply":"e30="},"attestation":null,"level":"1","withheld":["host-key"],"deliveries":[{"secret":"munge","version":2,"at":3,"to":"192.0.2.7","bundle":"AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM="}],"events":[{"at":1,"alarm":false,"text":"boots; armed by dhcp"}]}"#;
const HELD_SESSION: &str = r#"{"id":"aebagbafaydqqcikbmga2dqpca","node":7,"state":"armed","armed_by":"operator","held":"possible-mac-spoof","mac":"00:00:5e:00:53:07","address":null,"relay":"192.0.2.1","uuid":"11223344-5566-7788-99aa-bbccddeeff00","arch":null,"epoch":1,"sequence":9,"made":1,"expires":2,"grants":[],"given":{"command_line":"kernel initrd=initrd","kernel":"k","initrds":["i"],"kernel_digest":null,"initrd_digests":[null,"0101010101010101010101010101010101010101010101010101010101010101"]},"wrong":0,"claim":null,"attestation":null,"level":"0","withheld":[],"deliveries":[],"events":[]}"#;
const IDENTITY: &str = r#"{"node":7,"ek":"a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5","revoked":false,"how":"approved","by":"alice","at":3}"#;
const REVOKED: &str = r#"{"node":8,"ek":null,"revoked":true,"how":"listed","by":"bob","at":4}"#;
const DOSSIER: &str = r#"{"node":7,"pending":{"ek":"a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5","make":{"vendor":"IBM","firmware":"1.2","manufacturer":"id:49424D00","chain":"ok"},"first":1,"last":2,"from":"192.0.2.7","session":"aebagbafaydqqcikbmga2dqpca","epoch":3,"others":1},"make":{"vendor":"IBM","firmware":"1.2","manufacturer":null,"chain":"none"},"start":{"ek":"a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5","count":9,"session":"aebagbafaydqqcikbmga2dqpca"},"pinned":{"0":"0101010101010101010101010101010101010101010101010101010101010101","7":"0202020202020202020202020202020202020202020202020202020202020202"},"last":{"at":5,"level":"2p","findings":["PCR 7: differs"]},"flag":{"at":7,"text":"shown by another"},"held":[{"secret":"munge@group:compute","version":2,"at":6}]}"#;
const EMPTY_DOSSIER: &str =
    r#"{"node":8,"pending":null,"make":null,"start":null,"pinned":{},"last":null,"flag":null,"held":[]}"#;
const BOOT_RECORD: &str = r#"{"mac":"00:00:5e:00:53:07","started":1,"last":9,"outcome":"failed","node":"nid007","network":"boot","relay":"192.0.2.250","addresses":["192.0.2.7"],"client":{"firmware":"UEFI","arch":"x86_64","arch_code":7,"class":"PXEClient","uuid":"11223344-5566-7788-99aa-bbccddeeff00","agent":"iPXE/1.21"},"told":{"image":"debian:1","kernel":"k","initrds":["i"],"root":"r","rule":"default"},"kin":"@compute","steps":[{"phase":"kernel","fate":"refused","first":2,"last":3,"tries":4,"bytes":5,"of":6,"address":"192.0.2.7","what":"k","result":"status 404"}],"signs":{"kernel-missing":{"count":1,"first":3,"last":3,"text":"k: status 404"}},"logs":[{"at":4,"severity":3,"text":"x"}],"verdict":{"rule":"kernel-missing","at":3,"phase":"kernel","sure":"certain","summary":"s","evidence":["e"],"cause":"c","check":"d"},"renewals":0}"#;
const SMALL_BOOT_RECORD: &str = r#"{"mac":"00:00:5e:00:53:07","started":1,"last":1,"outcome":"under way","client":{"arch_code":0},"kin":"","steps":[],"renewals":0}"#;

fn check<R: Record>(json: &str) {
    let octets = [&[1], json.as_bytes()].concat();
    let value = R::parse(&octets).unwrap_or_else(|error| panic!("{json}: {error}"));
    assert_eq!(String::from_utf8(value.emit()[1..].to_vec()).unwrap(), json);
}

#[test]
fn every_record_of_version_1_loads_and_is_written_alike() {
    check::<Node>(NODE);
    check::<Node>(SMALL_NODE);
    check::<Bmc>(BMC);
    check::<Group>(GROUP);
    check::<Profile>(PROFILE);
    check::<Profile>(LOCAL);
    ASSIGNMENTS.iter().for_each(|json| check::<Assignment>(json));
    check::<Document>(DOCUMENT);
    SECRETS.iter().for_each(|json| check::<Secret>(json));
    check::<Lease>(LEASE);
    check::<Lease>(IPOIB_LEASE);
    check::<Sighting>(SIGHTING);
    check::<BootSession>(SESSION);
    check::<BootSession>(HELD_SESSION);
    [IDENTITY, REVOKED].iter().for_each(|json| check::<Identity>(json));
    [DOSSIER, EMPTY_DOSSIER].iter().for_each(|json| check::<Dossier>(json));
    check::<BootRecord>(BOOT_RECORD);
    check::<BootRecord>(SMALL_BOOT_RECORD);
}

#[test]
fn newer_and_damaged_records_are_told_apart() {
    let newer = [&[2], NODE.as_bytes()].concat();
    assert!(matches!(Node::parse(&newer), Err(StoreError::Schema { kind: "node", found: 2, known: 1 })));
    for damaged in
        [&b""[..], b"\x00{}", b"\x01{", b"\x01{\"name\":\"A B\",\"description\":\"\",\"priority\":0}"]
    {
        assert!(matches!(Group::parse(damaged), Err(StoreError::Corrupt(_))), "{damaged:?}");
    }
}

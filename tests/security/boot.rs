//! Nodes that boot in this process, as far as attackers care: a script, a grant, a claim, a token.

use std::net::Ipv4Addr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use getrandom::SysRng;
use hpke::rand_core::UnwrapErr;
use muster::api::node::NodeTrust;
use muster::base::Level;
use muster::engine::trust::Secrets;
use muster::engine::trust::attestor::{Ask, Attestor, Challenge, Denied, Pending, Proof};
use muster::engine::trust::contents::{Choice, Contents, Item, Withheld};
use muster::engine::trust::grant::Grant;
use muster::engine::trust::keyset::{Anchor, Keyset};
use muster::engine::trust::sealed::{Bundle, Expected, make_keys};
use muster::model::boot_session::Channel;
use muster::model::{BootSession, Node, NodeId, Snapshot};
use muster::transport::http::Peer;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::head::{Answer, Head, SITE, mac};

/// Where nid001 and nid002 are.
pub(crate) const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// What no answer may show.
pub(crate) const MARKER: &str = "marker-of-the-munge-key";

/// Every node has a key at level 1, and one at level 2.
struct Shelf;

impl Secrets for Shelf {
    fn wants(&self, _: &Snapshot, _: &Node) -> bool {
        true
    }

    fn choose(&self, _: &Snapshot, node: &Node, level: Level) -> Choice {
        let item = |id: &str| Item {
            id: id.to_owned(),
            version: 1,
            path: Some(format!("/etc/{id}")),
            mode: 0o400,
            owner: "root:root".to_owned(),
            credential: None,
            data: Zeroizing::new(format!("{MARKER} {id} of {}", node.name).into_bytes()),
        };
        let mut choice = Choice { items: vec![item("munge")], ..Choice::default() };
        if level >= Level::Tpm {
            choice.items.push(item("host-key"));
        } else {
            let reason = "asks for a TPM".to_owned();
            choice.withheld.push(Withheld { id: "host-key".to_owned(), needs: Level::Tpm, reason });
        }
        choice
    }
}

/// Plays a TPM's judge: the challenge is what the head's dice gave, and the answer must repeat it.
struct Repeats;

struct Wants([u8; 32]);

impl Attestor for Repeats {
    fn start(&self, _: &Ask<'_>, _: &Value, dice: &Zeroizing<[u8; 128]>) -> Result<Challenge, Denied> {
        let told = json!({"dice": STANDARD.encode(dice.as_slice())});
        Ok(Challenge { told, pending: Box::new(Wants(dice[..32].try_into().unwrap())) })
    }
}

impl Pending for Wants {
    fn finish(self: Box<Self>, _: &Ask<'_>, message: &Value) -> Result<Proof, Denied> {
        if message["proof"] != json!(STANDARD.encode(self.0)) {
            return Err(Denied { status: 403, text: "the proof is wrong".to_owned(), alarm: false });
        }
        Ok(Proof { level: Level::Tpm, secret: Zeroizing::new(self.0) })
    }
}

pub(crate) async fn head() -> Head {
    with(|_| ()).await
}

pub(crate) async fn with(change: impl FnOnce(&mut NodeTrust)) -> Head {
    at(SITE, change).await
}

pub(crate) async fn at(site: &str, change: impl FnOnce(&mut NodeTrust)) -> Head {
    let head = Head::trusting(site, |trust| {
        trust.secrets = Arc::new(Shelf);
        trust.attestor = Some(Arc::new(Repeats));
        change(trust);
    });
    for index in 1..=2 {
        let interface = json!({"mac": mac(index), "addresses": [format!("192.0.2.{index}")]});
        let name = format!("nid{index:03}");
        head.json("POST", "/api/v1/nodes", json!({"name": name, "interfaces": [interface]})).await.ok();
        let target = json!({"kernel": "k", "initrds": ["i"], "params": "quiet"});
        head.json("PUT", "/api/v1/boot", json!({"whom": {"set": name}, "target": target})).await.ok();
    }
    head
}

pub(crate) fn peer(address: Ipv4Addr) -> Peer {
    Peer::Tcp { remote: (address, 40000).into(), local: ([192, 0, 2, 254], 8081).into() }
}

pub(crate) fn node_id(head: &Head, index: u32) -> NodeId {
    head.context.snapshot.load().by_name(&format!("nid{index:03}")).unwrap().id
}

pub(crate) fn script_path(index: u32) -> String {
    format!("/boot/script?mac={}", mac(index).replace(':', "-"))
}

/// The node begins to boot, as DHCP would tell.
pub(crate) fn begins(head: &Head, index: u32) {
    let mac = mac(index).parse().unwrap();
    let channel = Channel { mac, address: None, relay: None, uuid: None, arch: None };
    head.context.trust.sessions.boots(node_id(head, index), channel);
}

/// The path of the grant that a script names.
pub(crate) fn grant_path(script: &str) -> Option<String> {
    let url = script.split_whitespace().find(|word| word.starts_with("http://") && word.contains("/b/"))?;
    Some(url.strip_prefix("http://192.0.2.254:8081").unwrap().to_owned())
}

/// The one file of a grant's archive.
pub(crate) fn boot_json(archive: &[u8]) -> Grant {
    let text = String::from_utf8_lossy(archive);
    let (start, end) = (text.find("{\"").unwrap(), text.find("\"}\n").unwrap());
    Grant::parse(text[start..end + 3].as_bytes()).unwrap()
}

/// A node that has its grant.
pub(crate) struct Boot<'a> {
    pub(crate) head: &'a Head,
    pub(crate) address: Ipv4Addr,
    pub(crate) grant: Grant,
    pub(crate) private: Zeroizing<[u8; 32]>,
    pub(crate) public: [u8; 32],
}

impl<'a> Boot<'a> {
    pub(crate) async fn begin(head: &'a Head, index: u32) -> Boot<'a> {
        let address = if index == 1 { NODE } else { OTHER };
        begins(head, index);
        let script = head.ask_from(address, "GET", &script_path(index), "").await.is(200);
        let path = grant_path(&script).unwrap_or_else(|| panic!("{script}"));
        let archive = head.ask_from(address, "GET", &path, "").await;
        assert_eq!(archive.status.as_u16(), 200, "{}", archive.text());
        let (private, public) = make_keys(&mut UnwrapErr(SysRng));
        Boot { head, address, grant: boot_json(&archive.bytes), private, public }
    }

    pub(crate) fn session(&self) -> BootSession {
        self.head.context.trust.sessions.get(self.grant.session).unwrap()
    }

    pub(crate) fn claim_body(&self) -> Value {
        json!({
            "session": self.grant.session.to_string(), "nonce": URL_SAFE_NO_PAD.encode(*self.grant.nonce),
            "node_pub": STANDARD.encode(self.public), "facts": {"kernel": "6.12"},
        })
    }

    pub(crate) async fn claim(&self) -> Answer {
        self.head.ask_from(self.address, "POST", "/node/v1/claim", self.claim_body().to_string()).await
    }

    /// Claims, and opens what it gets as a node does: by the root in the grant alone.
    pub(crate) async fn claimed(&self) -> Contents {
        let bundle = self.claim().await.ok();
        let keyset = self.head.ask_from(self.address, "GET", "/node/v1/keyset", "").await.ok();
        let anchor = Anchor { root: &self.grant.root, least_epoch: 0, now: None };
        let keys = Keyset::open(&keyset, anchor).unwrap();
        let session = self.grant.session.to_string();
        let expected = Expected { session: &session, least_seq: 0 };
        let (_, plain) =
            Bundle::from_json(&bundle).unwrap().open(&keys, &self.private, None, expected).unwrap();
        Contents::parse(&plain).unwrap()
    }

    pub(crate) async fn with_token(&self, token: &str, path: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {token}");
        let fields = [("authorization", bearer.as_str())];
        self.head.request(peer(self.address), "POST", path, &fields, body.to_string().into()).await
    }

    pub(crate) fn start_body(&self) -> Value {
        json!({"ek_pub": "", "node_pub": STANDARD.encode(self.public)})
    }
}

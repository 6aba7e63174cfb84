//! Puts foreign questions to upstream servers, one after the other, and remembers what they say.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::base::limits::{DNS_CACHE_ENTRIES_MAX, DNS_UPSTREAM_WAIT, DNS_UPSTREAMS_MAX};
use crate::engine::dns::{refusal, reply_to};
use crate::transport::clock::now;
use crate::transport::dns::DnsCounters;
use crate::transport::dns::cache::{Cache, Key};
use crate::wire::dns::{Edns, Message, MessageType, ResponseCode, UDP_BYTES_MAX, parse};

/// Datagrams from an upstream's address that may be no answer to our question, before we give up on it.
const STRAYS_MAX: usize = 16;

/// The resolver of what is not ours.
pub(crate) struct Forwarder {
    upstreams: Vec<SocketAddr>,
    // A mutex: two map operations per question, never held across an await.
    cache: Mutex<Cache>,
    counters: Arc<DnsCounters>,
}

impl Forwarder {
    pub(crate) fn new(upstreams: Vec<SocketAddr>, counters: Arc<DnsCounters>) -> Forwarder {
        Forwarder { upstreams, cache: Mutex::new(Cache::new(DNS_CACHE_ENTRIES_MAX)), counters }
    }

    pub(crate) fn has_upstream(&self) -> bool {
        !self.upstreams.is_empty()
    }

    /// The reply to a query with one question: remembered, fetched, or SERVFAIL.
    pub(crate) async fn resolve(&self, query: &Message) -> Message {
        let Some(key) = Key::of(query) else { return refusal(query, ResponseCode::FormErr) };
        let known = self.cache.lock().unwrap_or_else(PoisonError::into_inner).look_up(&key, now());
        if let Some(known) = known {
            self.counters.cached.raise();
            return rewrite(known, query);
        }
        self.counters.forwarded.raise();
        for upstream in self.upstreams.iter().take(DNS_UPSTREAMS_MAX) {
            match ask(*upstream, query).await {
                Ok(reply) if is_useful(&reply) => {
                    let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
                    cache.remember(key, reply.clone(), now());
                    drop(cache);
                    return rewrite(reply, query);
                }
                Ok(reply) => {
                    let code = reply.metadata.response_code;
                    tracing::debug!(%upstream, %code, "upstream dns server does not help");
                }
                Err(error) => tracing::debug!(%upstream, %error, "upstream dns server is silent"),
            }
        }
        self.counters.unanswered.raise();
        refusal(query, ResponseCode::ServFail)
    }
}

fn is_useful(reply: &Message) -> bool {
    matches!(reply.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
}

/// A foreign reply as the answer to this query: its id, its question's letter case, our EDNS.
fn rewrite(reply: Message, query: &Message) -> Message {
    let mut message = reply_to(query);
    message.metadata.response_code = reply.metadata.response_code;
    message.metadata.recursion_available = true;
    message.metadata.authentic_data = reply.metadata.authentic_data;
    if let (Some(ours), Some(theirs)) = (message.edns.as_mut(), query.edns.as_ref()) {
        ours.set_dnssec_ok(theirs.flags().dnssec_ok);
    }
    message.add_answers(reply.answers);
    message.add_authorities(reply.authorities);
    message.add_additionals(reply.additionals);
    message
}

/// Asks one server: over UDP from a random port with a random id, over TCP if the answer is too long.
async fn ask(upstream: SocketAddr, query: &Message) -> io::Result<Message> {
    let mut id = [0_u8; 2];
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    let mut question = query.clone();
    question.metadata.id = u16::from_be_bytes(id);
    question.additionals.clear();
    question.signature = None;
    if let Some(asked) = query.edns.as_ref() {
        // Options such as cookies are between neighbours and go no further (RFC 6891 section 6.2.6).
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_BYTES_MAX).set_dnssec_ok(asked.flags().dnssec_ok);
        question.set_edns(edns);
    }
    let bytes = question.to_vec().map_err(io::Error::other)?;
    let wait = Duration::from_millis(DNS_UPSTREAM_WAIT.0);
    let reply = tokio::time::timeout(wait, ask_udp(upstream, &question, &bytes)).await??;
    if !reply.metadata.truncation {
        return Ok(reply);
    }
    tokio::time::timeout(wait, ask_tcp(upstream, &question, &bytes)).await?
}

async fn ask_udp(upstream: SocketAddr, question: &Message, bytes: &[u8]) -> io::Result<Message> {
    let any = match upstream {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(upstream).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    for _ in 0..STRAYS_MAX {
        let length = socket.recv(&mut buffer).await?;
        if let Some(reply) = parse(&buffer[..length]).ok().filter(|reply| fits(question, reply)) {
            return Ok(reply);
        }
    }
    Err(io::Error::other("answers that do not fit the question"))
}

async fn ask_tcp(upstream: SocketAddr, question: &Message, bytes: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect(upstream).await?;
    stream.write_all(&framed(bytes)).await?;
    let reply = parse(&read_framed(&mut stream).await?).map_err(io::Error::other)?;
    if fits(question, &reply) { Ok(reply) } else { Err(io::Error::other("another question was answered")) }
}

/// RFC 5452 section 9.1: id and question must match; the socket has seen to the addresses.
fn fits(question: &Message, reply: &Message) -> bool {
    reply.metadata.message_type == MessageType::Response
        && reply.metadata.id == question.metadata.id
        && reply.queries == question.queries
}

/// Reads one message with its length in front, RFC 1035 section 4.2.2.
pub(crate) async fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// The message with its length in front.
pub(crate) fn framed(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("messages are emitted with a limit of 65535 octets");
    [&length.to_be_bytes()[..], bytes].concat()
}

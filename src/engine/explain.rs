//! What would this machine get, and why: the daemon's own decisions asked with imagined messages.
//! Nothing is sent, held or used up.

use crate::base::{Ipv4Net, Mac, NetworkName, Timestamp};
use crate::engine::boot::script::{Reach, render};
use crate::engine::boot::{self, Outcome, decide};
use crate::engine::dhcp::imagine::{Client, Imagined};
use crate::engine::dhcp::{Answer, Boot, Explanation, Observed, Request, Route, Verdict, respond};
use crate::model::snapshot::Machine;
use crate::model::{Arch, LeaseTable, Network, Snapshot};
use crate::wire::dhcp::code;

/// Whom to imagine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    pub mac: Mac,
    pub arch: Arch,
    /// What firmware speaks first. None: the usual one of the architecture.
    pub firmware: Option<Client>,
    /// Where it is plugged in. None: where it is declared, else the first network that serves DHCP.
    pub network: Option<NetworkName>,
}

/// One stage of the imagined boot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    pub stage: String,
    /// One line: what it gets.
    pub outcome: String,
    /// Why, line by line.
    pub reasons: Vec<String>,
    /// The iPXE script, at the stage that fetches it.
    pub script: Option<String>,
}

/// Explains every stage of a machine's boot.
///
/// # Errors
/// Says which network is missing.
pub fn explain(
    snapshot: &Snapshot,
    leases: &LeaseTable,
    query: &Query,
    now: Timestamp,
) -> Result<Vec<Step>, String> {
    let network = network(snapshot, query)?;
    let firmware = query.firmware.unwrap_or(Client::UefiPxe);
    let stages = match firmware {
        // An iPXE in ROM that can run the script needs no loader before it.
        Client::IpxeRom | Client::Ipxe => vec![firmware],
        _ => vec![firmware, Client::Ipxe],
    };
    let mut steps: Vec<Step> =
        stages.into_iter().map(|client| stage(snapshot, leases, query, network, client, now)).collect();
    steps.push(script_step(snapshot, leases, query, network));
    steps.push(stage(snapshot, leases, query, network, Client::System, now));
    Ok(steps)
}

fn network<'a>(snapshot: &'a Snapshot, query: &Query) -> Result<&'a Network, String> {
    let site = &snapshot.site;
    if let Some(name) = &query.network {
        return site.network(name).ok_or_else(|| format!("no network is called {name}"));
    }
    let declared = match snapshot.by_mac(query.mac) {
        Some(Machine::Node { interface, .. }) => interface.addresses.first().copied(),
        Some(Machine::Bmc(bmc)) => bmc.address,
        None => None,
    };
    declared
        .and_then(|address| site.network_of(address))
        .or_else(|| site.networks.iter().find(|network| network.dhcp != crate::model::DhcpMode::Off))
        .ok_or_else(|| {
            "no network is configured, so DHCP answers nobody ([[network]] in muster.toml)".to_owned()
        })
}

fn stage(
    snapshot: &Snapshot,
    leases: &LeaseTable,
    query: &Query,
    network: &Network,
    client: Client,
    now: Timestamp,
) -> Step {
    let machine = Imagined { client, arch: query.arch, mac: query.mac, uuid: None, xid: 1 };
    let mut message = machine.discover();
    let ingress = match &network.interface {
        Some(interface) => machine.ingress(interface),
        None => {
            // Only reached by relays: the first host of the network stands in for the relay.
            message.giaddr = relay_of(network.address);
            machine.ingress("")
        }
    };
    let request = Request::new(message, ingress);
    // As if the stages before had been ours.
    let observed = Observed { leases, chained: None, anchored: snapshot.site.loader_tls.is_some() };
    let answer = respond(&request, snapshot, &observed, now);
    let name = Client::ALL.iter().find(|(known, _)| *known == client).map_or("client", |(_, name)| name);
    Step {
        stage: name.to_owned(),
        outcome: outcome(&answer),
        reasons: reasons(&answer.explanation),
        script: None,
    }
}

fn relay_of(network: Ipv4Net) -> std::net::Ipv4Addr {
    u32::from(network.network()).saturating_add(1).into()
}

/// One line about an answer: what is sent, the address, the boot data.
#[must_use]
pub fn outcome(answer: &Answer) -> String {
    let route = match &answer.verdict {
        Verdict::Silence(reason) => return format!("no answer: {reason}"),
        Verdict::Reply { route: Route::Broadcast, .. } => "broadcast".to_owned(),
        Verdict::Reply { route: Route::Unicast { mac, .. }, .. } => format!("to {mac}"),
        Verdict::Reply { route: Route::Routed(to), .. } => format!("routed to {to}"),
    };
    let explanation = &answer.explanation;
    let kind = explanation.reply.map_or_else(|| "REPLY".to_owned(), code::kind);
    let address = explanation.address.map_or_else(String::new, |(address, _)| format!(" {address}"));
    let boot = match &explanation.boot {
        Some(Boot::File { name, .. }) => format!(", loader {name} by TFTP"),
        Some(Boot::Url { url, .. }) => format!(", loader {url}"),
        Some(Boot::Script { url }) => format!(", script {url}"),
        Some(Boot::RaspberryPi) => ", Raspberry Pi boot".to_owned(),
        Some(Boot::None(reason)) => format!(", nothing to boot: {reason}"),
        None => String::new(),
    };
    format!("{kind}{address}{boot} ({route})")
}

/// The rules behind an answer, one line each.
#[must_use]
pub fn reasons(explanation: &Explanation) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some((network, rule)) = &explanation.network {
        lines.push(format!("network {network}: {}", rule.sentence()));
    }
    let machine = explanation
        .machine
        .as_deref()
        .map_or("not declared".to_owned(), |name| format!("declared as {name}"));
    lines.push(format!("machine: {machine}"));
    if let Some((address, rule)) = &explanation.address {
        lines.push(format!("address {address}: {}", rule.sentence()));
    }
    if let Some(lease) = explanation.lease {
        lines.push(format!("lease: {} s", lease.as_secs()));
    }
    if let Some(Boot::File { rule, .. } | Boot::Url { rule, .. }) = &explanation.boot {
        lines.push(format!("loader: {}", rule.sentence()));
    }
    let options: Vec<String> =
        explanation.options.iter().map(|(number, _)| format!("{number} {}", code::name(*number))).collect();
    if !options.is_empty() {
        lines.push(format!("options: {}", options.join(", ")));
    }
    lines
}

fn script_step(snapshot: &Snapshot, leases: &LeaseTable, query: &Query, network: &Network) -> Step {
    let declared = match snapshot.by_mac(query.mac) {
        Some(Machine::Node { interface, .. }) => interface.addresses.first().copied(),
        Some(Machine::Bmc(_)) | None => None,
    };
    let leased =
        || leases.find(&network.name, &crate::model::LeaseKey::Mac(query.mac)).map(|lease| lease.address);
    // A machine without an address yet would have one of this network.
    let address = declared.or_else(leased).unwrap_or_else(|| network.address.network());
    let request = boot::Request {
        mac: Some(query.mac),
        address: Some(address),
        uuid: None,
        arch: Some(query.arch),
        attempt: 0,
    };
    let decision = decide(snapshot, &request);
    let head = snapshot.site.head_for(network).unwrap_or(std::net::Ipv4Addr::LOCALHOST);
    let site = &snapshot.site;
    let reach = Reach { head, port: site.http_port, tls: site.loader_tls.as_ref().map(|tls| tls.port) };
    let (outcome, script) = match render(&decision, &request, &snapshot.site, reach) {
        Ok(Some(script)) => (what(&decision.outcome), Some(script)),
        Ok(None) => ("404: the machine goes on to its next boot device".to_owned(), None),
        Err(error) => (format!("the target cannot be written as a script: {error}"), None),
    };
    Step { stage: "script".to_owned(), outcome, reasons: vec![format!("rule: {decision}")], script }
}

fn what(outcome: &Outcome) -> String {
    use crate::engine::boot::Program;
    match outcome {
        Outcome::Boot(Program::Linux { kernel, .. }) => format!("boots {kernel}"),
        Outcome::Boot(Program::Script(_)) => "runs a script of the site".to_owned(),
        Outcome::Boot(Program::Chain(url)) => format!("chains to {url}"),
        Outcome::Boot(Program::LocalDisk) => "boots its local disk".to_owned(),
        Outcome::Hold => "waits and asks again".to_owned(),
        Outcome::Refuse => "is refused".to_owned(),
    }
}

#[cfg(test)]
mod tests;

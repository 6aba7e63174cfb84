//! Boot decision to the script that BSS sends: the lines, names and parameters that clients and recorded boots
//! compare with, byte for byte where BSS boots a machine. The decision is the one that our own script follows.
//! Where BSS leaves a machine alone, ours tells its console why and has it ask again.

use crate::base::{Mac, Timestamp};
use crate::engine::boot::script::{
    Reach, absolute, boot_interface, complete, filled, initrd_name, leave, own_script,
};
use crate::engine::boot::{Decision, Outcome, Program};
use crate::model::{Selector, Site};
use crate::wire::ipxe::{Script, Unwritable};

/// First pause of a machine whose boot failed, as BSS has it (`BSS_RETRY_DELAY`); doubles up to `PAUSE_MAX_S`.
const PAUSE_S: u32 = 30;

/// First pause of a machine that waits for a decision (`BSS_HSM_RETRIEVAL_DELAY`).
const HOLD_S: u32 = 10;

/// Longest pause: whoever repairs an image waits this long at most.
const PAUSE_MAX_S: u32 = 120;

/// One request for a script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked<'a> {
    /// The path that was asked; the machine asks it again.
    pub path: &'a str,
    /// Whom the script is for.
    pub whom: Selector,
    /// How the request named it, if not by a hardware address: `name=x1000c0s0b0n0`.
    pub named: &'a str,
    pub retry: u32,
    /// Makes the URL of a machine that waits differ from the one before.
    pub now: Timestamp,
    /// The token that was kept with the parameters.
    pub token: &'a str,
}

/// Renders the script for a decision. None: the machine gets an HTTP error instead, so that it goes on to its
/// next boot device by itself.
///
/// # Errors
/// The target holds text that iPXE cannot carry.
pub fn render(
    decision: &Decision,
    asked: &Asked<'_>,
    site: &Site,
    reach: Reach,
) -> Result<Option<String>, Unwritable> {
    let script = Script::default();
    let rendered = match &decision.outcome {
        Outcome::Refuse => return Ok(None),
        Outcome::Hold => hold(script, decision, asked, reach)?,
        Outcome::Boot(Program::Script(text)) => return Ok(Some(own_script(text))),
        Outcome::Boot(Program::LocalDisk) => leave(script),
        Outcome::Boot(Program::Chain(target)) => {
            let target = absolute(target, reach);
            again(script.with("chain --autofree", &target, " || goto boot_retry")?, decision, asked, reach)?
        }
        Outcome::Boot(Program::Linux { kernel, initrds, .. }) => {
            match std::iter::once(kernel).chain(initrds).find(|url| url.starts_with("s3:")) {
                Some(url) => again(unsigned(script, url), decision, asked, reach)?,
                None => again(linux(script, decision, asked, site, reach)?, decision, asked, reach)?,
            }
        }
    };
    Ok(Some(rendered.finish()))
}

/// The script that asks a machine for its processor family before anything is decided.
///
/// # Errors
/// The request named the machine by what iPXE cannot carry.
pub fn ask_arch(decision: &Decision, asked: &Asked<'_>, reach: Reach) -> Result<String, Unwritable> {
    let url = waiting_url(decision, asked, reach);
    Ok(Script::default().with("chain", &url, "")?.finish())
}

fn linux(
    mut script: Script,
    decision: &Decision,
    asked: &Asked<'_>,
    site: &Site,
    reach: Reach,
) -> Result<Script, Unwritable> {
    let Outcome::Boot(Program::Linux { kernel, initrds, .. }) = &decision.outcome else {
        return Ok(script);
    };
    let line = format!("{} {}", absolute(kernel, reach), parameters(decision, asked, site, reach));
    script = script.with("kernel --name kernel", &line, " || goto boot_retry")?;
    for (index, initrd) in initrds.iter().enumerate() {
        let named = format!("{} {}", initrd_name(index), absolute(initrd, reach));
        script = script.with("initrd --name", &named, " || goto boot_retry")?;
    }
    Ok(script.command("boot || goto boot_retry"))
}

/// What a machine's console shows whose files lie where a signature is needed: iPXE has no S3, and we have no
/// key to sign with.
fn unsigned(script: Script, url: &str) -> Script {
    script
        .echo(&format!("muster: cannot boot {url}: this head has no S3 credentials to sign it with"))
        .echo("muster: assign an http URL, or a path below the image root of the head")
}

/// The parameters of the kernel's line: what is configured, then what BSS adds unless it is there.
#[must_use]
pub fn parameters(decision: &Decision, asked: &Asked<'_>, site: &Site, reach: Reach) -> String {
    let Outcome::Boot(Program::Linux { initrds, params, .. }) = &decision.outcome else {
        return String::new();
    };
    let params = filled(decision, reach, params);
    let mut line = format!("{} {}", site.kernel_params.trim(), params.trim()).trim().to_owned();
    if !initrds.is_empty() {
        let kept: Vec<&str> = line.split(' ').filter(|word| !word.starts_with("initrd=")).collect();
        let names: Vec<String> =
            (0..initrds.len()).map(|index| format!("initrd={}", initrd_name(index))).collect();
        line = format!("{} {}", names.join(" "), kept.join(" ").trim()).trim_end().to_owned();
    }
    let node = decision.node.as_deref();
    let mac = match &asked.whom {
        Selector::Mac(mac) => Some(*mac),
        _ => None,
    };
    complete(
        &line,
        [
            ("xname=", node.map(|node| node.effective_xname().to_string())),
            ("nid=", node.and_then(|node| node.nid).map(|nid| nid.0.to_string())),
            ("bss_referral_token=", Some(asked.token.to_owned()).filter(|token| !token.is_empty())),
            ("BOOTIF=", mac.map(boot_interface)),
            ("ds=", Some(format!("nocloud-net;s={}/cloud-init/", reach.base()))),
        ],
    )
}

/// The tail of a script: pauses, longer each time, and asks again.
fn again(script: Script, decision: &Decision, asked: &Asked<'_>, reach: Reach) -> Result<Script, Unwritable> {
    let unknown = decision.node.is_none() && decision.rule_is_for_unknown();
    let url = if unknown {
        waiting_url(decision, asked, reach)
    } else {
        let identity = identity(decision, asked);
        format!("{}{}?{identity}&retry={}", reach.loader(), asked.path, asked.retry.saturating_add(1))
    };
    let pause = pause(PAUSE_S, asked.retry).to_string();
    Ok(script.command(":boot_retry").with("sleep", &pause, "")?.with("chain", &url, "")?.command(""))
}

/// A script that tells a waiting machine's console what is missing, and asks again.
fn hold(script: Script, decision: &Decision, asked: &Asked<'_>, reach: Reach) -> Result<Script, Unwritable> {
    let who = match (&decision.node, &asked.whom) {
        (Some(node), _) => node.name.to_string(),
        (None, Selector::Mac(mac)) => mac.to_string(),
        (None, _) => asked.named.to_owned(),
    };
    let find = match &asked.whom {
        Selector::Mac(mac) => format!("--mac {mac}"),
        _ => who.clone(),
    };
    let url = format!("{}&retry={}", waiting_url(decision, asked, reach), asked.retry.saturating_add(1));
    script
        .echo(&format!("muster: {who} waits: {decision}"))
        .echo(&format!("muster: declare it or assign boot parameters; see: muster explain {find}"))
        .command(":boot_retry")
        .with("sleep", &pause(HOLD_S, asked.retry).to_string(), "")?
        .with("chain", &url, " || goto boot_retry")
}

/// The URL by which a machine asks again that is not known, or to which nothing is assigned.
fn waiting_url(decision: &Decision, asked: &Asked<'_>, reach: Reach) -> String {
    let seconds = asked.now.0 / 1000;
    let identity = identity(decision, asked);
    format!("{}{}?{identity}&arch=${{buildarch}}&ts={seconds}", reach.loader(), asked.path)
}

/// By which of its names a machine asks again: the hardware address if one is known, as BSS does.
fn identity(decision: &Decision, asked: &Asked<'_>) -> String {
    let mac: Option<Mac> = match &asked.whom {
        Selector::Mac(mac) => Some(*mac),
        _ => decision.node.as_ref().and_then(|node| node.interfaces.first()).map(|port| port.mac),
    };
    match (mac, &decision.node) {
        (Some(mac), _) => format!("mac={mac}"),
        (None, Some(node)) => format!("name={}", node.effective_xname()),
        (None, None) => escaped(asked.named),
    }
}

/// A part of a query, with everything escaped that a URL or iPXE would take for something else.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"=.-_".contains(&octet) {
            out.push(char::from(octet));
        } else {
            out.push_str(&format!("%{octet:02X}"));
        }
    }
    out
}

fn pause(first: u32, retry: u32) -> u32 {
    first.checked_shl(retry.min(8)).unwrap_or(PAUSE_MAX_S).clamp(first, PAUSE_MAX_S)
}

#[cfg(test)]
mod tests;

//! Boot decision to iPXE script. Every script ends in an explicit step: iPXE tries the next device when a
//! script merely returns, and the machine would be gone.

use std::net::Ipv4Addr;

use crate::base::Mac;
use crate::engine::boot::url;
use crate::engine::boot::{Decision, Outcome, Program, Request};
use crate::model::Site;
use crate::wire::ipxe::{Script, Unwritable};

/// How the machine reaches the head, for URLs in its script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reach {
    pub head: Ipv4Addr,
    pub port: u16,
}

impl Reach {
    /// The URL below which everything of the head lies.
    #[must_use]
    pub fn base(self) -> String {
        format!("http://{}:{}", self.head, self.port)
    }
}

/// What iPXE calls the kernel, and the kernel itself in its command line.
const KERNEL_NAME: &str = "kernel";

/// First pause before a machine asks again, in seconds; doubles up to `PAUSE_MAX_S`.
const PAUSE_S: u32 = 2;

/// Longest pause: a node that waits to be declared is up within half a minute of it.
const PAUSE_MAX_S: u32 = 30;

/// Renders the script for a decision. None: the machine gets an HTTP error instead, so that it goes on to
/// its next boot device by itself.
///
/// # Errors
/// The target holds text that iPXE cannot carry.
pub fn render(
    decision: &Decision,
    request: &Request,
    site: &Site,
    reach: Reach,
) -> Result<Option<String>, Unwritable> {
    let name = decision.node.as_ref().map_or("unknown machine", |node| node.name.as_str());
    let title = format!("muster: {name}: {decision}");
    let script = Script::default().echo(&title);
    let rendered = match &decision.outcome {
        Outcome::Refuse => return Ok(None),
        Outcome::Hold => hold(script, request, reach)?,
        Outcome::Boot(Program::Script(text)) => return Ok(Some(own_script(text))),
        Outcome::Boot(Program::Chain(target)) => {
            let script = script.with("chain --autofree", &absolute(target, reach), " || goto retry")?;
            again(script, request, reach)?
        }
        Outcome::Boot(Program::LocalDisk) => leave(script),
        Outcome::Boot(Program::Linux { kernel, initrds, params }) => {
            let line = command_line(decision, request, site, reach, params, initrds.len());
            let kernel = format!("{} {line}", absolute(kernel, reach));
            let kernel = format!("{KERNEL_NAME} {kernel}");
            let mut script = script.with("kernel --name", kernel.trim_end(), " || goto retry")?;
            for (index, initrd) in initrds.iter().enumerate() {
                let named = format!("{} {}", initrd_name(index), absolute(initrd, reach));
                script = script.with("initrd --name", &named, " || goto retry")?;
            }
            again(script.command("boot || goto retry"), request, reach)?
        }
    };
    Ok(Some(rendered.finish()))
}

/// The same decision with the grant of a boot session as the last initrd, behind those of the image. Only a Linux
/// program can take one.
#[must_use]
pub fn granted(decision: Decision, url: String) -> Decision {
    let mut decision = decision;
    if let Outcome::Boot(Program::Linux { initrds, .. }) = &mut decision.outcome {
        initrds.push(url);
    }
    decision
}

/// The command line that the kernel of this decision gets, as it shows it in `/proc/cmdline`: iPXE puts the image's
/// name in front. None: it boots no Linux, or iPXE's own settings stand in the line.
#[must_use]
pub fn kernel_line(decision: &Decision, request: &Request, site: &Site, reach: Reach) -> Option<String> {
    let Outcome::Boot(Program::Linux { initrds, params, .. }) = &decision.outcome else { return None };
    let line = command_line(decision, request, site, reach, params, initrds.len());
    let whole = format!("{KERNEL_NAME} {line}");
    (!line.contains("${")).then(|| whole.trim_end().to_owned())
}

/// A script that tells a waiting machine's console what is missing, and asks again.
fn hold(script: Script, request: &Request, reach: Reach) -> Result<Script, Unwritable> {
    let mac = request.mac.map_or_else(|| "unknown".to_owned(), |mac| mac.to_string());
    let script = script.echo(&format!("muster: {mac} waits; see on the head: muster explain --mac {mac}"));
    again(script, request, reach)
}

/// The tail that pauses and fetches the script again, more slowly each time.
fn again(script: Script, request: &Request, reach: Reach) -> Result<Script, Unwritable> {
    let doublings = request.attempt.min(8);
    let pause = PAUSE_S.checked_shl(doublings).unwrap_or(PAUSE_MAX_S).clamp(PAUSE_S, PAUSE_MAX_S);
    let attempt = request.attempt.saturating_add(1);
    let base = match request.mac {
        Some(mac) => url::script(reach.head, reach.port, mac),
        // The head finds the machine by its address.
        None => format!("{}{}?arch=${{buildarch}}&platform=${{platform}}", reach.base(), url::SCRIPT),
    };
    script.command(":retry").with("sleep", &pause.to_string(), "")?.with(
        "chain --autofree --replace",
        &format!("{base}&try={attempt}"),
        " || goto retry",
    )
}

/// Leaves iPXE for the local disk.
pub(in crate::engine::boot) fn leave(script: Script) -> Script {
    script.command("iseq ${platform} pcbios && sanboot --no-describe --drive 0x80 ||").command("exit")
}

/// A path below the image root becomes a URL; URLs stay.
pub(in crate::engine::boot) fn absolute(target: &str, reach: Reach) -> String {
    if target.contains("://") || target.starts_with("${") {
        target.to_owned()
    } else {
        format!("{}{}/{}", reach.base(), url::IMAGES, target.trim_start_matches('/'))
    }
}

/// EFI kernels find an initrd by its iPXE name on the command line; all builds since 2019 know names.
pub(in crate::engine::boot) fn initrd_name(index: usize) -> String {
    if index == 0 { "initrd".to_owned() } else { format!("initrd{index}") }
}

/// The kernel's parameters: the site's, the target's with its placeholders filled in, then what the boot
/// needs unless it is there already.
fn command_line(
    decision: &Decision,
    request: &Request,
    site: &Site,
    reach: Reach,
    params: &str,
    initrds: usize,
) -> String {
    let filled = filled(decision, reach, params);
    let mut words: Vec<String> = (0..initrds).map(|index| format!("initrd={}", initrd_name(index))).collect();
    if filled.split(' ').any(|word| word.starts_with("initrd=")) {
        words.clear();
    }
    words.extend([site.kernel_params.clone(), filled]);
    let line = words.join(" ");
    let node = decision.node.as_deref();
    complete(
        &line,
        [
            // What images made for other boot services expect; nodes without such a name do without.
            ("xname=", node.and_then(|node| node.xname.as_ref()).map(ToString::to_string)),
            ("nid=", node.and_then(|node| node.nid).map(|nid| nid.0.to_string())),
            ("BOOTIF=", request.mac.map(boot_interface)),
            // Where a declared node's cloud-init finds its documents; systems without it ignore this.
            ("ds=", node.map(|_| format!("nocloud;s={}/cloud-init/", reach.base()))),
        ],
    )
}

/// A command line with single spaces, and with those parameters of which it has none yet.
pub(in crate::engine::boot) fn complete<const N: usize>(
    line: &str,
    extras: [(&str, Option<String>); N],
) -> String {
    let mut words: Vec<String> = line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    for (prefix, value) in extras {
        if let Some(value) = value.filter(|_| !words.iter().any(|word| word.starts_with(prefix))) {
            words.push(format!("{prefix}{value}"));
        }
    }
    words.join(" ")
}

/// Parameters with their placeholders filled in.
pub(in crate::engine::boot) fn filled(decision: &Decision, reach: Reach, params: &str) -> String {
    let name = decision.node.as_ref().map_or("", |node| node.name.as_str());
    params
        .replace("{head}", &reach.head.to_string())
        .replace("{http}", &reach.base())
        .replace("{images}", &format!("{}{}", reach.base(), url::IMAGES))
        .replace("{name}", name)
}

/// Tells the initrd by which port the machine booted (pxelinux's convention: hardware type, then address).
pub(in crate::engine::boot) fn boot_interface(mac: Mac) -> String {
    format!("01-{}", mac.hyphenated())
}

/// A script of the site is sent as it is, with the first line iPXE needs.
pub(in crate::engine::boot) fn own_script(text: &str) -> String {
    let head = if text.starts_with("#!ipxe") { "" } else { "#!ipxe\n" };
    let end = if text.ends_with('\n') { "" } else { "\n" };
    format!("{head}{text}{end}")
}

/// The constant script behind `/boot.ipxe`: finds the machine's address and asks for its own script.
#[must_use]
pub fn entry(reach: Reach) -> String {
    let base = format!("{}{}", reach.base(), url::SCRIPT);
    let query = "mac=${netX/mac:hexhyp}&uuid=${uuid}&arch=${buildarch}&platform=${platform}";
    format!(
        "#!ipxe\n\
         isset ${{netX/ip}} || dhcp || goto retry\n\
         chain --autofree --replace {base}?{query} || goto retry\n\
         :retry\n\
         echo muster: the head does not answer, trying again\n\
         sleep 5\n\
         isset ${{netX/ip}} || dhcp ||\n\
         chain --autofree --replace {base}?{query} || goto retry\n"
    )
}

#[cfg(test)]
mod tests;

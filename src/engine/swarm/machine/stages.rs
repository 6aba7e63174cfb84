//! What a machine does in each stage: where the next file lies, by the scenario's word or the server's.

use crate::engine::dhcp::imagine::Client;
use crate::engine::swarm::fetch::{Source, boot_file, fill};
use crate::engine::swarm::machine::{Goal, Machine};
use crate::engine::swarm::report::{Reason, Stage};
use crate::engine::swarm::script::{Want, expand};
use crate::engine::swarm::tftp::Manner;
use crate::engine::swarm::{Micros, Moment};

/// Documents in the order of cloud-init since 24.3; the shell fetches one after the other.
const DOCUMENTS: [&str; 4] = ["network-config", "meta-data", "user-data", "vendor-data"];

impl Machine {
    pub(in crate::engine::swarm) fn load(&mut self, now: Moment) {
        let manner = Manner::of(self.firmware);
        match self.source(Stage::Loader, manner) {
            Some(source) => self.fetch(Stage::Loader, source, Goal::Script, now),
            None => self.anew(Stage::Loader, Reason::NoBootFile, now),
        }
    }

    pub(in crate::engine::swarm) fn ask_script(&mut self, now: Moment) {
        // iPXE asks for an address of its own, unless it was in the card all along.
        if !self.in_ipxe && self.scenario.does(Stage::Dhcp) {
            return self.exchange(Stage::IpxeDhcp, self.firmware.ipxe(), now);
        }
        match self.source(Stage::Script, Manner::IPXE) {
            Some(source) => self.fetch(Stage::Script, source, Goal::Run(true), now),
            None => self.anew(Stage::Script, Reason::NoBootFile, now),
        }
    }

    pub(in crate::engine::swarm) fn go_on(&mut self, status: bool, now: Moment) {
        let Some(run) = &mut self.run else { return self.finish(Ok(()), now) };
        let want = run.resume(status);
        let stage = match &want {
            Want::Kernel(_) => Stage::Kernel,
            Want::Initrd(_) => Stage::Initrd,
            _ => Stage::Script,
        };
        match want {
            Want::Kernel(url) | Want::Initrd(url) | Want::Chain(url) => {
                if !self.scenario.does(stage) {
                    return self.pursue(Goal::Run(true), now);
                }
                let replaced = self.scenario.overrides(stage).next().map(|url| url.as_str().to_owned());
                let url = fill(&replaced.unwrap_or(url), self.mac, self.address, self.uuid);
                match Source::parse_or_tftp(&url, self.ack.as_deref(), Manner::IPXE) {
                    Some(source) => self.fetch(stage, source, Goal::Run(true), now),
                    None => self.pursue(Goal::Run(false), now),
                }
            }
            Want::Sleep(seconds) => self.rest(Micros::from_secs(seconds), Goal::Run(true), now),
            Want::Boot(line) => self.boot_kernel(line, now),
            Want::Leave(why) => self.anew(Stage::Script, Reason::Script(why), now),
        }
    }

    fn boot_kernel(&mut self, line: String, now: Moment) {
        self.kernel_line = line;
        let system = [Stage::Root, Stage::CloudInit, Stage::PhoneHome];
        let runs = system.iter().any(|stage| self.scenario.does(*stage));
        let goal = match runs && self.scenario.does(Stage::SystemDhcp) {
            true => Goal::Dhcp(Stage::SystemDhcp, Client::System),
            false => Goal::Root,
        };
        let pause = self.think(self.scenario.thinks.kernel);
        self.rest(pause, goal, now);
    }

    pub(in crate::engine::swarm) fn fetch_root(&mut self, now: Moment) {
        let words = self.kernel_line.split(' ');
        let mut named = words.filter_map(|word| {
            let value =
                ["root=live:", "muster.root=", "fetch="].iter().find_map(|key| word.strip_prefix(key));
            value.or_else(|| word.strip_prefix("root=").filter(|url| url.starts_with("http")))
        });
        let named = named.next_back().map(str::to_owned);
        match self.replaced(Stage::Root).or(named).and_then(|url| Source::parse(&url)) {
            Some(source) => self.fetch(Stage::Root, source, Goal::Document(0), now),
            None => self.pursue(Goal::Document(0), now), // the root is in the initrd
        }
    }

    pub(in crate::engine::swarm) fn fetch_document(&mut self, index: usize, now: Moment) {
        let Some(name) = DOCUMENTS.get(index) else {
            return self.pursue(Goal::PhoneHome, now);
        };
        let seeds = self.kernel_line.split(' ').filter_map(|word| word.strip_prefix("ds=nocloud"));
        let named = seeds.filter_map(|rest| rest.split_once("s=")).map(|(_, url)| url.to_owned()).next_back();
        let goal = Goal::Document(index.saturating_add(1));
        let base = self.replaced(Stage::CloudInit).or(named);
        match base.and_then(|base| Source::parse(&format!("{}/{name}", base.trim_end_matches('/')))) {
            Some(source) => self.fetch(Stage::CloudInit, source, goal, now),
            None => self.pursue(Goal::PhoneHome, now), // the system has another source of its settings
        }
    }

    pub(in crate::engine::swarm) fn call_home(&mut self, now: Moment) {
        let url = self.replaced(Stage::PhoneHome).or_else(|| self.home.clone());
        match url.and_then(|url| Source::parse(&url)) {
            Some(source) => self.fetch(Stage::PhoneHome, source, Goal::Done, now),
            None => self.finish(Ok(()), now), // nobody wants to be called
        }
    }

    fn replaced(&self, stage: Stage) -> Option<String> {
        let url = self.scenario.overrides(stage).next()?;
        Some(fill(url.as_str(), self.mac, self.address, self.uuid))
    }

    /// Where a stage's file lies: the scenario's word, else the server's.
    fn source(&self, stage: Stage, manner: Manner) -> Option<Source> {
        if let Some(url) = self.replaced(stage) {
            return Source::parse(&url).map(|source| source.with(manner));
        }
        let ack = self.ack.as_deref()?;
        let name = expand(&boot_file(ack)?, &self.settings());
        Source::parse_or_tftp(&name, Some(ack), manner)
    }

    /// What iPXE would be told, if the scenario names files instead of a script.
    pub(in crate::engine::swarm) fn own_script(&self) -> String {
        let line = |verb: &str, stage: Stage| {
            let urls = self.scenario.overrides(stage);
            urls.map(|url| format!("{verb} {}\n", url.as_str())).collect::<String>()
        };
        let kernel = match line("kernel", Stage::Kernel) {
            kernel if kernel.is_empty() => "imgargs kernel\n".to_owned(),
            kernel => kernel,
        };
        format!("#!ipxe\n{kernel}{}boot\n", line("initrd", Stage::Initrd))
    }
}

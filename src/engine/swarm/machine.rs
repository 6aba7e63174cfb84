//! One machine from its power-on to its report home, as an automaton. It follows what the server says: file
//! names come from DHCP, downloads from the script, the root and cloud-init from the kernel's parameters.

mod stages;

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::base::{Mac, Uuid};
use crate::engine::dhcp::imagine::{Client, Imagined};
use crate::engine::swarm::dhcp::Exchange;
use crate::engine::swarm::dice::{self, Throw};
use crate::engine::swarm::fetch::{Fetch, Fetched, Source, ipxe_settings, phone_home_url};
use crate::engine::swarm::report::{Passed, Reason, Stage};
use crate::engine::swarm::script::Run;
use crate::engine::swarm::{Dice, Firmware, Micros, Moment, Scenario};
use crate::model::Arch;
use crate::wire::dhcp::{Message, code};

/// What the shell does next for the machine.
#[derive(Debug)]
pub enum Step {
    /// Broadcast a message.
    Send(Box<Message>),
    /// Take an address, in a network of this mask.
    Hold(Ipv4Addr, Option<Ipv4Addr>),
    /// Fetch, then call `on_fetched`.
    Fetch(Fetch),
    /// Put it into the report.
    Passed(Passed),
    /// The same for a download that will be tried again.
    Retried {
        stage: Stage,
        bytes: u64,
        retries: u64,
    },
    /// Wait for `next_deadline` or a DHCP message.
    Wait,
    Over,
}

/// What the machine does when its pause is over.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Goal {
    Dhcp(Stage, Client),
    Loader,
    /// Ask for the first script.
    Script,
    /// Go on in the script; true: the last command succeeded.
    Run(bool),
    Root,
    /// One document of cloud-init.
    Document(usize),
    PhoneHome,
    Done,
}

#[derive(Debug)]
enum State {
    Rest { until: Moment, then: Goal },
    Exchange { stage: Stage, began: Moment, exchange: Exchange },
    Fetching { fetch: Fetch, began: Moment, tries: u64, goal: Goal },
    Over,
}

/// Pause before firmware begins anew.
const ANEW: Micros = Micros::from_secs(5);
/// How often the system asks for a file again, and its pause (dracut's and cloud-init's habits).
const SYSTEM_TRIES: u64 = 10;
const SYSTEM_PAUSE: Micros = Micros::from_secs(1);

/// The machine.
#[derive(Debug)]
pub struct Machine {
    scenario: Arc<Scenario>,
    dice: Dice,
    mac: Mac,
    uuid: Uuid,
    firmware: Firmware,
    born: Moment,
    state: State,
    steps: VecDeque<Step>,
    address: Option<Ipv4Addr>,
    /// Last ACK: it names the file to boot.
    ack: Option<Box<Message>>,
    /// True once the latest ACK was given to iPXE.
    in_ipxe: bool,
    run: Option<Run>,
    kernel_line: String,
    /// Where user-data or vendor-data want to be called.
    home: Option<String>,
    attempts: u32,
    pauses: u64,
    exchanges: u64,
    messages: u64,
    fetches: u64,
}

impl Machine {
    /// Machine number `index`, switched on now. `round` tells the boots of one machine apart.
    #[must_use]
    pub fn new(scenario: Arc<Scenario>, index: u32, round: u64, now: Moment) -> Machine {
        let dice = scenario.dice(index);
        let firmware = scenario.firmware(index);
        let mut machine = Machine {
            dice,
            mac: dice::mac(scenario.first_mac, index),
            uuid: dice.uuid(),
            firmware,
            born: now,
            state: State::Over,
            steps: VecDeque::new(),
            address: None,
            ack: None,
            in_ipxe: false,
            run: None,
            kernel_line: String::new(),
            home: None,
            attempts: 1,
            // Throws of one boot do not repeat those of another.
            pauses: round << 20,
            exchanges: round << 20,
            messages: round << 20,
            fetches: round << 12,
            scenario,
        };
        machine.begin(now);
        machine
    }

    #[must_use]
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// The address that the machine holds: downloads come from it.
    #[must_use]
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.address
    }

    /// When the machine wants to be polled again although nothing came.
    #[must_use]
    pub fn next_deadline(&self) -> Moment {
        let end = self.born.after(self.scenario.patience);
        match &self.state {
            State::Rest { until, .. } => (*until).min(end),
            State::Exchange { exchange, .. } => exchange.next_deadline().min(end),
            State::Fetching { .. } | State::Over => end,
        }
    }

    /// What to do now. Polled until it waits or is over.
    pub fn poll(&mut self, now: Moment) -> Step {
        loop {
            if let Some(step) = self.steps.pop_front() {
                return step;
            }
            if matches!(self.state, State::Over) {
                return Step::Over;
            }
            if now.since(self.born) >= self.scenario.patience {
                self.finish(Err(Reason::TooLong), now);
                continue;
            }
            match &mut self.state {
                State::Rest { until, .. } if now < *until => return Step::Wait,
                State::Rest { then, .. } => {
                    let goal = then.clone();
                    self.pursue(goal, now);
                }
                State::Exchange { exchange, .. } => match exchange.poll_message(now) {
                    Some(message) => self.send(message),
                    None if exchange.outcome().is_some() => self.conclude_exchange(now),
                    None => return Step::Wait,
                },
                State::Fetching { .. } | State::Over => return Step::Wait,
            }
        }
    }

    /// A DHCP message for the machine.
    pub fn on_dhcp(&mut self, message: &Message, now: Moment) {
        self.messages = self.messages.saturating_add(1);
        if self.dice.hits(Throw::DhcpIn, self.messages, self.scenario.loss.per_million()) {
            return;
        }
        if let State::Exchange { exchange, .. } = &mut self.state {
            exchange.on_message(message, now);
        }
    }

    /// What a fetch came to.
    pub fn on_fetched(&mut self, fetched: Fetched, now: Moment) {
        let State::Fetching { fetch, began, tries, goal } = std::mem::replace(&mut self.state, State::Over)
        else {
            return;
        };
        let Fetched { result, bytes, body, retry_after, retries } = fetched;
        let offset = fetch.offset.saturating_add(bytes);
        let system = matches!(fetch.stage, Stage::Root | Stage::CloudInit | Stage::PhoneHome);
        let again = match &result {
            Ok(()) => None,
            Err(_) if retry_after.is_some() => retry_after.map(Micros::from_secs),
            Err(Reason::Local(_)) => None,
            Err(_) => (system && tries < SYSTEM_TRIES).then_some(SYSTEM_PAUSE),
        };
        if let Some(pause) = again {
            // The stage passes with its last try.
            let retries = retries.saturating_add(1);
            self.steps.push_back(Step::Retried { stage: fetch.stage, bytes, retries });
            let offset = if fetch.stage == Stage::Root { offset } else { 0 };
            self.fetches = self.fetches.saturating_add(1);
            let fetch = Fetch { offset, not_before: now.after(pause), serial: self.fetches, ..fetch };
            self.steps.push_back(Step::Fetch(fetch.clone()));
            self.state = State::Fetching { fetch, began, tries: tries.saturating_add(1), goal };
            return;
        }
        let took = now.since(began);
        let passed = Passed { stage: fetch.stage, took, bytes, retries, result: result.clone() };
        self.steps.push_back(Step::Passed(passed));
        self.advance(&fetch, goal, (result, &body), now);
    }

    /// What follows a fetch.
    fn advance(&mut self, fetch: &Fetch, goal: Goal, got: (Result<(), Reason>, &[u8]), now: Moment) {
        let (result, body) = got;
        match (fetch.stage, result) {
            (Stage::Loader, Ok(())) => {
                let pause = self.think(self.scenario.thinks.loader);
                self.rest(pause, goal, now);
            }
            (Stage::Script, Ok(())) => match Run::new(&String::from_utf8_lossy(body), self.settings()) {
                Some(run) => {
                    self.run = Some(run);
                    self.pursue(Goal::Run(true), now);
                }
                None => self.anew(Stage::Script, Reason::Script("no #!ipxe in its first line"), now),
            },
            (Stage::Kernel | Stage::Initrd, result) => self.pursue(Goal::Run(result.is_ok()), now),
            // A script that chains has its own way to go on.
            (Stage::Script, Err(_)) if self.run.is_some() => self.pursue(Goal::Run(false), now),
            (_, Err(reason)) if matches!(fetch.stage, Stage::Loader | Stage::Script) => {
                self.begin_anew(reason, now);
            }
            (_, Err(reason)) => self.finish(Err(reason), now),
            (Stage::CloudInit, Ok(())) => {
                self.home = phone_home_url(body).or_else(|| self.home.take());
                self.pursue(goal, now);
            }
            (_, Ok(())) => self.pursue(goal, now),
        }
    }

    /// From the first stage that the scenario has.
    fn begin(&mut self, now: Moment) {
        (self.run, self.ack) = (None, None);
        self.in_ipxe = self.firmware == Firmware::IpxeRom;
        let client = self.firmware.client();
        let first =
            if self.scenario.does(Stage::Dhcp) { Goal::Dhcp(Stage::Dhcp, client) } else { Goal::Loader };
        self.rest(Micros(0), first, now);
    }

    /// Goes for a goal, or past it if the scenario leaves it out.
    fn pursue(&mut self, goal: Goal, now: Moment) {
        let does = |stage: Stage| self.scenario.does(stage);
        match goal {
            Goal::Dhcp(stage, client) => self.exchange(stage, client, now),
            Goal::Loader if does(Stage::Loader) && self.firmware != Firmware::IpxeRom => self.load(now),
            Goal::Loader => self.pursue(Goal::Script, now),
            Goal::Script if does(Stage::Script) => self.ask_script(now),
            Goal::Script => {
                self.run = Run::new(&self.own_script(), self.settings());
                self.pursue(Goal::Run(true), now);
            }
            Goal::Run(status) => self.go_on(status, now),
            Goal::Root if does(Stage::Root) => self.fetch_root(now),
            Goal::Root => self.pursue(Goal::Document(0), now),
            Goal::Document(index) if does(Stage::CloudInit) => self.fetch_document(index, now),
            Goal::Document(_) => self.pursue(Goal::PhoneHome, now),
            Goal::PhoneHome if does(Stage::PhoneHome) => self.call_home(now),
            Goal::PhoneHome | Goal::Done => self.finish(Ok(()), now),
        }
    }

    fn exchange(&mut self, stage: Stage, client: Client, now: Moment) {
        self.exchanges = self.exchanges.saturating_add(1);
        let [.., a, b, c, d] = self.dice.throw(Throw::Transaction, self.exchanges).to_be_bytes();
        let xid = u32::from_be_bytes([a, b, c, d]);
        let imagined = Imagined { client, arch: Arch::X86_64, mac: self.mac, uuid: Some(self.uuid), xid };
        self.state = State::Exchange { stage, began: now, exchange: Exchange::new(imagined, now) };
    }

    fn send(&mut self, message: Message) {
        self.messages = self.messages.saturating_add(1);
        if !self.dice.hits(Throw::DhcpOut, self.messages, self.scenario.loss.per_million()) {
            self.steps.push_back(Step::Send(Box::new(message)));
        }
    }

    fn conclude_exchange(&mut self, now: Moment) {
        let State::Exchange { stage, began, exchange } = std::mem::replace(&mut self.state, State::Over)
        else {
            return;
        };
        let Some(outcome) = exchange.outcome() else { return };
        let result = outcome.as_ref().map(|_| ()).map_err(Clone::clone);
        let passed = Passed { stage, took: now.since(began), bytes: 0, retries: exchange.retries, result };
        self.steps.push_back(Step::Passed(passed));
        match outcome {
            Err(reason) => self.begin_anew(reason, now),
            Ok(ack) => {
                if self.address != Some(ack.yiaddr) {
                    self.address = Some(ack.yiaddr);
                    self.steps.push_back(Step::Hold(ack.yiaddr, ack.options.address(code::SUBNET_MASK)));
                }
                self.ack = Some(ack);
                self.in_ipxe |= stage == Stage::IpxeDhcp;
                let goal = match stage {
                    Stage::Dhcp => Goal::Loader,
                    Stage::IpxeDhcp => Goal::Script,
                    _ => Goal::Root,
                };
                self.rest(Micros(0), goal, now);
            }
        }
    }

    fn fetch(&mut self, stage: Stage, source: Source, goal: Goal, now: Moment) {
        self.fetches = self.fetches.saturating_add(1);
        let fetch = Fetch { stage, source, offset: 0, not_before: now, serial: self.fetches };
        self.steps.push_back(Step::Fetch(fetch.clone()));
        self.state = State::Fetching { fetch, began: now, tries: 1, goal };
    }

    fn rest(&mut self, span: Micros, then: Goal, now: Moment) {
        self.state = State::Rest { until: now.after(span), then };
    }

    fn think(&mut self, between: crate::engine::swarm::scenario::Between) -> Micros {
        self.pauses = self.pauses.saturating_add(1);
        between.pick(self.dice, self.pauses)
    }

    /// A stage failed that had no fetch of its own to fail.
    fn anew(&mut self, stage: Stage, reason: Reason, now: Moment) {
        let result = Err(reason.clone());
        let passed = Passed { stage, took: Micros(0), bytes: 0, retries: 0, result };
        self.steps.push_back(Step::Passed(passed));
        self.begin_anew(reason, now);
    }

    fn begin_anew(&mut self, reason: Reason, now: Moment) {
        if self.attempts >= self.scenario.attempts {
            return self.finish(Err(reason), now);
        }
        self.attempts = self.attempts.saturating_add(1);
        self.begin(now);
        if let State::Rest { until, .. } = &mut self.state {
            *until = now.after(ANEW);
        }
    }

    fn finish(&mut self, result: Result<(), Reason>, now: Moment) {
        let retries = u64::from(self.attempts.saturating_sub(1));
        let took = now.since(self.born);
        self.steps.push_back(Step::Passed(Passed { stage: Stage::Boot, took, bytes: 0, retries, result }));
        self.state = State::Over;
    }

    fn settings(&self) -> BTreeMap<String, String> {
        ipxe_settings(self.firmware, self.mac, self.uuid, self.address)
    }
}

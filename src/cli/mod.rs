//! Floor 6: commands, exit codes, text for people. Exit 0: done; 1: failed; 2: wrong use.

mod audit;
mod bmcs;
mod boot;
mod check;
mod claim;
mod client;
mod cloud_init;
mod edit;
mod env;
mod events;
mod explain;
mod foreign;
mod groups;
mod hint;
mod image;
mod inventory;
mod key;
mod manual;
mod nodes;
mod observed;
mod profiles;
mod progress;
mod record;
mod replay;
mod screen;
mod secret;
mod serve;
mod status;
mod swarm;
mod table;
mod token;
mod trust;
mod user;
mod watch;
mod why;
mod write;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, FromArgMatches, Parser, Subcommand};

use crate::cli::client::Client;

/// Wakes a cluster from one box: DHCP, TFTP, iPXE, HTTP boot, DNS and inventory in one process.
#[derive(Debug, Parser)]
#[command(
    name = "muster",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  muster check                                  is the configuration right?
  muster serve                                  run the head
  muster import nodes.yaml                      declare nodes
  muster boot set @compute --kernel vmlinuz --initrd initrd.img --params 'console=ttyS0'
  muster explain --mac 52:54:00:be:ef:01        what would this machine get, and why?

Node sets: nid[001-009,012]  @group  *  joined by , (and)  ! (without)  & (only those also in)"
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// The configuration
    #[arg(
        long,
        global = true,
        hide_env_values = true,
        value_name = "FILE",
        env = "MUSTER_CONFIG",
        default_value = "/etc/muster/muster.toml"
    )]
    pub(crate) config: PathBuf,
    /// Everything the head must remember
    #[arg(
        long,
        global = true,
        hide_env_values = true,
        value_name = "DIR",
        env = "MUSTER_DATA_DIR",
        default_value = "/var/lib/muster"
    )]
    pub(crate) data_dir: PathBuf,
    /// The daemon's Unix socket, if it is not DATA_DIR/muster.sock
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) socket: Option<PathBuf>,
    /// A daemon elsewhere, such as https://172.16.0.254:8443
    #[arg(long, global = true, value_name = "URL", conflicts_with = "socket")]
    pub(crate) url: Option<String>,
    /// The token for a daemon elsewhere (muster token issue); better in MUSTER_TOKEN, where ps does not show it
    #[arg(long, global = true, value_name = "TOKEN", env = "MUSTER_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Certificate authority of a daemon elsewhere (muster ca); else what the system trusts
    #[arg(long, global = true, value_name = "FILE", env = "MUSTER_CACERT")]
    pub(crate) cacert: Option<PathBuf>,
    /// Print the API's JSON instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Check(check::Check),
    Import(inventory::Import),
    Export(inventory::Export),
    #[command(subcommand)]
    Node(nodes::Node),
    #[command(subcommand)]
    Group(groups::Group),
    #[command(subcommand)]
    Bmc(bmcs::Bmc),
    #[command(subcommand)]
    Profile(profiles::Profile),
    #[command(subcommand)]
    Boot(boot::Boot),
    #[command(subcommand)]
    Image(image::Image),
    #[command(subcommand)]
    CloudInit(cloud_init::CloudInit),
    #[command(subcommand)]
    Secret(secret::Secret),
    #[command(subcommand)]
    SshCa(secret::SshCa),
    #[command(subcommand)]
    Network(observed::Network),
    #[command(subcommand)]
    Lease(observed::Lease),
    #[command(subcommand)]
    Discover(observed::Discover),
    #[command(subcommand)]
    Trust(trust::Trust),
    Why(why::Why),
    #[command(subcommand)]
    Record(record::Record),
    Events(events::Events),
    Explain(explain::Explain),
    Replay(replay::Replay),
    Swarm(swarm::Swarm),
    #[command(subcommand)]
    Token(token::Token),
    Claim(claim::Claim),
    #[command(subcommand)]
    Key(key::Key),
    #[command(subcommand)]
    User(user::User),
    #[command(subcommand)]
    Audit(audit::Audit),
    Env(env::Env),
    Ca(env::Ca),
    Status(status::Status),
    Completions(manual::Completions),
    Man(manual::Man),
}

/// Runs a command line.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = manual::command().try_get_matches_from(arguments);
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output and are no failure.
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let global = cli.global.clone();
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = format!("{error:#}");
            eprintln!("muster: {text}");
            if let Some(hint) = client(&global).ok().and_then(|client| hint::nearest(&client, &text)) {
                eprintln!("  {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<()> {
    let global = cli.global;
    match cli.command {
        // These need no daemon.
        Command::Serve(command) => command.run(&global),
        Command::Check(command) => command.run(&global),
        Command::Replay(command) => command.run(&global),
        Command::Swarm(command) => command.run(&global),
        Command::Completions(command) => command.run(),
        Command::Man(command) => command.run(),
        Command::Explain(command) => command.run(&global),
        // These ask it.
        Command::Import(command) => command.run(&client(&global)?, &global),
        Command::Export(command) => command.run(&client(&global)?),
        Command::Node(command) => command.run(&client(&global)?, &global),
        Command::Group(command) => command.run(&client(&global)?, &global),
        Command::Bmc(command) => command.run(&client(&global)?, &global),
        Command::Profile(command) => command.run(&client(&global)?, &global),
        Command::Boot(command) => command.run(&client(&global)?, &global),
        Command::Image(command) => command.run(&client(&global)?, &global),
        Command::CloudInit(command) => command.run(&client(&global)?, &global),
        Command::Secret(command) => command.run(&client(&global)?, &global),
        Command::SshCa(command) => command.run(&client(&global)?),
        Command::Network(command) => command.run(&client(&global)?, &global),
        Command::Lease(command) => command.run(&client(&global)?, &global),
        Command::Trust(command) => command.run(&client(&global)?, &global),
        Command::Discover(command) => command.run(&client(&global)?, &global),
        Command::Why(command) => command.run(&client(&global)?, &global),
        Command::Record(command) => command.run(&client(&global)?, &global),
        Command::Events(command) => command.run(&client(&global)?, &global),
        Command::Status(command) => command.run(&client(&global)?, &global),
        Command::Token(command) => command.run(&client(&global)?, &global),
        Command::Key(command) => command.run(&client(&global)?, &global),
        Command::Claim(command) => command.run(&client(&global)?, &global),
        Command::User(command) => command.run(&client(&global)?, &global),
        Command::Audit(command) => command.run(&client(&global)?, &global),
        Command::Env(command) => command.run(&client(&global)?, &global),
        Command::Ca(command) => command.run(&client(&global)?),
    }
}

fn client(global: &Global) -> anyhow::Result<Client> {
    match &global.url {
        Some(url) => {
            let roots = match &global.cacert {
                Some(file) => vec![file.clone()],
                None => client::known_roots(&global.data_dir),
            };
            Client::remote(url, global.token.as_deref(), &roots)
        }
        None => Ok(Client::unix(serve::socket(global))),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        crate::cli::Cli::command().debug_assert();
    }
}

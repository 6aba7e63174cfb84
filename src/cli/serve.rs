//! `muster serve`: runs the head.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::app::config::{Config, LogFormat};
use crate::app::config_file::ConfigProblem;
use crate::app::{daemon, privileges};
use crate::cli::Global;

/// Run the head: DHCP, TFTP, HTTP, DNS and the API, until SIGTERM
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  muster serve
  muster --config ./muster.toml --data-dir ./data serve --log json

SIGHUP reads the loaders again; the configuration needs a restart.")]
pub(crate) struct Serve {
    /// How logs look: auto (people on a terminal, JSON otherwise), human, json
    #[arg(long, value_name = "FORMAT")]
    log: Option<String>,
}

impl Serve {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<()> {
        let mut config = load(global)?;
        if let Some(format) = &self.log {
            config.log.format = match format.as_str() {
                "auto" => LogFormat::Auto,
                "human" => LogFormat::Human,
                "json" => LogFormat::Json,
                _ => anyhow::bail!("--log: {format:?} is none of auto, human, json"),
            };
        }
        start_log(&config)?;
        if let Some(socket) = &global.socket {
            config.socket = Some(socket.clone());
        }
        privileges::close_memory().context("cannot keep core dumps off")?;
        privileges::close_files();
        // Before the first thread: capabilities belong to threads.
        let kept = privileges::restrict(config.configures_links())?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            tracing::debug!(?kept, "capabilities");
            let (mut end, mut interrupt) =
                (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            let stop = async {
                tokio::select! {
                    _ = end.recv() => {}
                    _ = interrupt.recv() => {}
                }
            };
            daemon::serve(config, &global.data_dir, stop).await
        })
    }
}

/// Reads the configuration; mistakes in it end the command.
pub(crate) fn load(global: &Global) -> anyhow::Result<Config> {
    read(global)?.map_err(|problems| refused(global, &problems))
}

/// Reads the configuration, or all its mistakes. The default file may be absent; one that was asked for may not.
pub(crate) fn read(global: &Global) -> anyhow::Result<Result<Config, Vec<ConfigProblem>>> {
    let path = &global.config;
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error)
            if error.kind() == std::io::ErrorKind::NotFound
                && path.as_os_str() == "/etc/muster/muster.toml" =>
        {
            String::new()
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    Ok(Config::parse(&text))
}

/// The mistakes of a configuration as one error, a line for each.
pub(crate) fn refused(global: &Global, problems: &[ConfigProblem]) -> anyhow::Error {
    let lines: Vec<String> =
        problems.iter().map(|problem| format!("\n  {}:{problem}", global.config.display())).collect();
    anyhow::anyhow!("the configuration has {} problem(s):{}", problems.len(), lines.concat())
}

/// The socket by which commands reach the daemon. A broken configuration does not keep them from it.
pub(crate) fn socket(global: &Global) -> PathBuf {
    let configured = || load(global).unwrap_or_default();
    global.socket.clone().unwrap_or_else(|| daemon::socket_path(&configured(), &global.data_dir))
}

fn start_log(config: &Config) -> anyhow::Result<()> {
    let mut filter = EnvFilter::try_new(&config.log.level).context("log.level")?;
    if !config.log.level.contains("rustls") {
        // iPXE names the head by its address where a name belongs, at every connection; it is served all the same.
        filter = filter.add_directive("rustls::msgs::handshake=error".parse().context("log.level")?);
    }
    let human = match config.log.format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if human {
        builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).init();
    } else {
        builder.json().flatten_event(true).init();
    }
    Ok(())
}

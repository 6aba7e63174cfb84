//! What is made from the command line's own description: the list of commands, completions, man pages.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Command, CommandFactory};

use crate::cli::{Cli, table};

/// Commands by what people want. Those that stand nowhere here are listed at the end.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Run the head", &["serve", "check", "status", "events", "backup", "restore"]),
    ("Declare machines", &["import", "export", "node", "group", "bmc"]),
    ("Boot and configure them", &["profile", "boot", "image", "cloud-init", "secret", "power", "console"]),
    ("See what happens", &["network", "lease", "discover", "why", "record", "explain", "replay", "swarm"]),
    (
        "Access and shell",
        &["claim", "token", "user", "key", "trust", "audit", "env", "ca", "ssh-ca", "completions", "man"],
    ),
];

/// Width of the column of command names.
const NAME_WIDTH: usize = 13;

/// Print the completions of a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  muster completions bash > /etc/bash_completion.d/muster
  muster completions zsh > /usr/share/zsh/site-functions/_muster")]
pub(crate) struct Completions {
    shell: clap_complete::Shell,
}

/// Write the man pages, one for each command
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  muster man /usr/local/share/man/man1
  muster man ./pages && man ./pages/muster-node-set.1")]
pub(crate) struct Man {
    /// Made if it is not there
    folder: PathBuf,
}

impl Completions {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let mut out = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "muster", &mut out);
        table::print(&String::from_utf8_lossy(&out))
    }
}

impl Man {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let folder = &self.folder;
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        // Their pages would repeat what --help says of itself.
        let command = Cli::command().disable_help_subcommand(true);
        clap_mangen::generate_to(command, folder)
            .with_context(|| format!("cannot write to {}", folder.display()))?;
        table::print(&format!("man pages are in {}\n", folder.display()))
    }
}

/// The command line with its commands listed in groups.
pub(crate) fn command() -> Command {
    let command = Cli::command();
    let list = list(&command);
    let template =
        format!("{{about}}\n\n{{usage-heading}} {{usage}}\n\n{list}\nOptions:\n{{options}}{{after-help}}");
    command.help_template(template)
}

fn list(command: &Command) -> String {
    let mut text = String::new();
    let line = |one: &Command| {
        let about = one.get_about().map(ToString::to_string).unwrap_or_default();
        format!("  {:<NAME_WIDTH$} {about}\n", one.get_name())
    };
    for (title, names) in GROUPS {
        let lines: String = names.iter().filter_map(|name| command.find_subcommand(name)).map(line).collect();
        if !lines.is_empty() {
            text.push_str(&format!("{title}:\n{lines}\n"));
        }
    }
    let known = |one: &&Command| !GROUPS.iter().any(|(_, names)| names.contains(&one.get_name()));
    let rest: String = command.get_subcommands().filter(known).map(line).collect();
    if rest.is_empty() { text.trim_end().to_owned() + "\n" } else { format!("{text}Others:\n{rest}") }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Command;

    use crate::cli::manual::{GROUPS, command};

    /// Every command with the words that lead to it.
    fn walk(command: &Command, words: &str, visit: &mut dyn FnMut(&str, &Command)) {
        let words = format!("{words}{}", command.get_name());
        visit(&words, command);
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            walk(below, &format!("{words} "), visit);
        }
    }

    #[test]
    fn every_help_text_is_as_it_was_read_last() {
        let mut text = String::new();
        let mut root = command().term_width(100);
        root.build();
        walk(&root, "", &mut |words, one| {
            let help = one.clone().term_width(100).render_long_help().to_string();
            let lines = help.lines().map(|line| format!("{}\n", line.trim_end())).collect::<String>();
            text.push_str(&format!("==== {words}\n{lines}\n"));
        });
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/help.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, &text).unwrap();
        }
        let golden = std::fs::read_to_string(&file).unwrap();
        for (number, (is, was)) in text.lines().zip(golden.lines()).enumerate() {
            assert_eq!(is, was, "tests/golden/help.txt:{}; UPDATE_GOLDEN=1 rewrites it", number + 1);
        }
        assert_eq!(text.lines().count(), golden.lines().count(), "UPDATE_GOLDEN=1 rewrites it");
    }

    #[test]
    fn every_command_says_what_it_does_and_shows_an_example() {
        walk(&command(), "", &mut |words, one| {
            let about = one.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(about.len() > 8, "{words} says nothing about itself");
            let after = one.get_after_help().map(ToString::to_string).unwrap_or_default();
            let leaf = one.get_subcommands().next().is_none();
            assert!(!leaf || after.contains("Example"), "{words} shows no example");
            for option in one.get_arguments().filter(|option| option.get_help().is_none()) {
                assert!(
                    option.is_positional() || SPEAKING.contains(&option.get_id().as_str()),
                    "{words}: --{}",
                    option.get_id()
                );
            }
        });
    }

    /// Options whose names say all.
    const SPEAKING: [&str; 8] = ["help", "version", "mac", "ip", "uuid", "description", "socket", "url"];

    #[test]
    fn a_command_stands_in_one_group() {
        let mut names: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        let help = command().render_help().to_string();
        assert!(help.contains("Declare machines:\n  import"), "{help}");
    }
}

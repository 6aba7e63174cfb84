//! `muster user`.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use anyhow::Context as _;
use axum::http::Method;
use clap::Subcommand;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::api::auth::types::{NewUserBody, SessionBody, TotpBody, UserBody, UserPatchBody};
use crate::cli::client::{Client, escape};
use crate::cli::{Global, table};
use crate::model::Role;

/// Users who log in to the head's pages with a password
#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Add a user; the password is asked for, or read from standard input
    #[command(after_help = "\
viewer reads, operator changes the inventory and boots nodes, admin manages users and tokens too.

Examples:
  muster user add alice --role admin
  pwgen -s 20 1 | tee alice.txt | muster user add alice --role operator")]
    Add {
        name: String,
        /// What the user may do: viewer, operator, admin
        #[arg(long)]
        role: Role,
    },
    /// List users
    #[command(after_help = "Example:\n  muster user list")]
    List,
    /// Remove a user; sessions and tokens end with the user
    #[command(after_help = "Example:\n  muster user rm alice")]
    Rm { name: String },
    /// Set a new password, which is asked for or read from standard input; sessions end
    #[command(after_help = "Example:\n  muster user passwd alice")]
    Passwd { name: String },
    /// Give a user another role; sessions end
    #[command(after_help = "Example:\n  muster user role alice viewer")]
    Role {
        name: String,
        /// viewer, operator or admin
        role: Role,
    },
    /// Ask a user for a one-time code at each login; the key for the app is shown once, sessions end
    #[command(after_help = "\
The key goes into any app that knows TOTP, typed or as the link in a picture.

Examples:
  muster user totp alice
  muster user totp alice --json | jq -r .link | qrencode -t ansiutf8
  muster user totp alice --off      a password is enough again")]
    Totp {
        name: String,
        /// Ask for no more codes
        #[arg(long)]
        off: bool,
    },
    /// List who is logged in, newest first
    #[command(after_help = "Example:\n  muster user sessions")]
    Sessions,
    /// End a session, from the next request on
    #[command(after_help = "Example:\n  muster user logout 4f53cda18c2b…      an id of muster user sessions")]
    Logout { id: String },
}

impl User {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let shown = |user: &UserBody, text: String| {
            if global.json { table::json(user) } else { table::print(&text) }
        };
        match self {
            User::Add { name, role } => {
                let password = new_password()?.to_string();
                let body = NewUserBody { name, role: role.to_string(), password };
                let made: UserBody = client.json(Method::POST, "/users", &body)?;
                shown(&made, format!("user {} added as {}\n", made.name, made.role))
            }
            User::List => {
                let users: Vec<UserBody> = client.get("/users")?;
                if global.json {
                    return table::json(&users);
                }
                let row = |user: &UserBody| {
                    let UserBody { name, role, created, changed, totp } = user.clone();
                    let second = if totp { "code" } else { "-" };
                    vec![name, role, second.to_owned(), created, changed]
                };
                let rows: Vec<Vec<String>> = users.iter().map(row).collect();
                table::rows(
                    &["name", "role", "second", "created", "changed"],
                    &rows,
                    "no users; muster user add makes one",
                )
            }
            User::Rm { name } => {
                client.bare(Method::DELETE, &format!("/users/{}", escape(&name)))?;
                table::print(&format!("user {name} removed\n"))
            }
            User::Passwd { name } => {
                let password = Some(new_password()?.to_string());
                let made = patch(client, &name, &UserPatchBody { role: None, password })?;
                shown(&made, format!("user {name} has a new password and is logged out\n"))
            }
            User::Role { name, role } => {
                let body = UserPatchBody { role: Some(role.to_string()), password: None };
                let made = patch(client, &name, &body)?;
                shown(&made, format!("user {name} is {role} now, and logged out\n"))
            }
            User::Totp { name, off: true } => {
                client.bare(Method::DELETE, &format!("/users/{}/totp", escape(&name)))?;
                table::print(&format!("user {name} is asked for no codes, and logged out\n"))
            }
            User::Totp { name, off: false } => {
                let path = format!("/users/{}/totp", escape(&name));
                let made: TotpBody = client.json(Method::POST, &path, &serde_json::Value::Null)?;
                if global.json {
                    return table::json(&made);
                }
                let TotpBody { user, key, link } = made;
                table::print(&format!(
                    "key   {key}\nlink  {link}\nuser {user} needs a code at each login now, and is logged out; \
                     this is not shown again\n"
                ))
            }
            User::Sessions => {
                let sessions: Vec<SessionBody> = client.get("/sessions")?;
                if global.json { table::json(&sessions) } else { list(&sessions) }
            }
            User::Logout { id } => {
                client.bare(Method::DELETE, &format!("/sessions/{}", escape(&id)))?;
                table::print("session ended\n")
            }
        }
    }
}

fn patch(client: &Client, name: &str, body: &UserPatchBody) -> anyhow::Result<UserBody> {
    client.json(Method::PATCH, &format!("/users/{}", escape(name)), body)
}

fn list(sessions: &[SessionBody]) -> anyhow::Result<()> {
    let row = |session: &SessionBody| {
        let SessionBody { id, user, created, expires, ip } = session.clone();
        vec![user, table::dash(ip), created, expires, id]
    };
    let rows: Vec<Vec<String>> = sessions.iter().map(row).collect();
    table::rows(&["user", "from", "since", "until", "id"], &rows, "nobody is logged in")
}

/// A new password: asked for twice on a terminal, else the first line of standard input. Never an argument, which
/// everybody on the machine can see.
pub(crate) fn new_password() -> anyhow::Result<Zeroizing<String>> {
    if !std::io::stdin().is_terminal() {
        return line();
    }
    let first = ask("New password: ")?;
    anyhow::ensure!(first == ask("Once more: ")?, "the two are not the same; nothing was changed");
    Ok(first)
}

fn ask(prompt: &str) -> anyhow::Result<Zeroizing<String>> {
    eprint!("{prompt}");
    std::io::stderr().flush()?;
    let quiet = Quiet::begin()?;
    let text = line();
    drop(quiet);
    eprintln!();
    text
}

fn line() -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    std::io::stdin().lock().read_line(&mut text)?;
    let end = text.trim_end_matches(['\n', '\r']).len();
    text.truncate(end);
    Ok(text)
}

/// A terminal that does not show what is typed, until this is dropped.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> anyhow::Result<Quiet> {
        let before = tcgetattr(std::io::stdin()).context("the terminal")?;
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(std::io::stdin(), SetArg::TCSAFLUSH, &quiet).context("the terminal")?;
        Ok(Quiet(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing anyway.
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSAFLUSH, &self.0);
    }
}

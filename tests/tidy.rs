//! The house rules as tests: floors, purity, file length, headers, paths, stray words.

#![allow(clippy::unwrap_used, reason = "a test that cannot read the tree has failed")]

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms and their floors. A file names only rooms below its own, or its own.
const FLOORS: [(&str, u8); 10] = [
    ("base", 0),
    ("wire", 1),
    ("model", 1),
    ("engine", 2),
    ("store", 2),
    ("transport", 3),
    ("api", 4),
    ("app", 5),
    ("cli", 6),
    ("node", 6), // a binary of its own
];

/// Rooms without I/O, clock and dice, and what would betray them.
const PURE: [&str; 4] = ["base", "wire", "model", "engine"];
const IMPURE: [&str; 9] = [
    "tokio",
    "async fn",
    "std::fs",
    "std::thread",
    "std::env",
    "SystemTime",
    "Instant::now",
    "UdpSocket",
    "rand::",
];

/// Rooms in which deriving serde is allowed: serialising is a promise.
const SERDE: [&str; 5] =
    ["src/store/record", "src/api/", "src/app/config_file.rs", "src/wire/redfish.rs", "src/cli/"];

const LINES_MAX: usize = 400;

struct File {
    path: String,
    text: String,
}

impl File {
    fn room(&self) -> Option<&str> {
        self.path.strip_prefix("src/")?.split_once('/').map(|(room, _)| room)
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// Lines that are not comments, with their numbers from one.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// The part before an inline test module.
    fn product(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code().take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
    }
}

fn files() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pending = vec![root.join("src")];
    let mut files = Vec::new();
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.push(File { path: name, text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    assert!(files.len() > 10, "the source tree was not found");
    files
}

fn complain(breaches: &[String]) {
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

#[test]
fn a_room_names_only_rooms_below_it() {
    let floor = |room: &str| FLOORS.iter().find(|(name, _)| *name == room).map(|(_, floor)| *floor);
    let mut breaches = Vec::new();
    for file in files() {
        let Some(room) = file.room() else { continue };
        let Some(own) = floor(room) else {
            breaches.push(format!("{}: the room {room} has no floor", file.path));
            continue;
        };
        for (number, line) in file.code() {
            for (at, _) in line.match_indices("crate::") {
                let named: String =
                    line[at + 7..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if floor(&named).is_some_and(|other| named != room && other >= own) {
                    breaches.push(format!("{}:{number}: {room} must not know {named}", file.path));
                }
            }
            if line.contains("use crate::{") {
                breaches.push(format!("{}:{number}: name one room per `use`", file.path));
            }
        }
    }
    complain(&breaches);
}

#[test]
fn pure_rooms_stay_pure() {
    let mut breaches = Vec::new();
    for file in files().iter().filter(|file| file.room().is_some_and(|room| PURE.contains(&room))) {
        for (number, line) in file.product() {
            for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                breaches.push(format!("{}:{number}: {word} in a pure room", file.path));
            }
        }
    }
    complain(&breaches);
}

#[test]
fn files_are_short_and_say_why_they_exist() {
    let mut breaches = Vec::new();
    for file in files() {
        let lines = file.text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
        if lines > LINES_MAX && !file.is_test() {
            breaches.push(format!("{}: {lines} lines, at most {LINES_MAX}", file.path));
        }
        let headed = file.text.starts_with("//!") || file.path == "src/lib.rs" || file.is_test();
        if !headed {
            breaches.push(format!("{}: no header", file.path));
        }
    }
    complain(&breaches);
}

#[test]
fn paths_are_absolute_and_serialising_stays_at_the_edge() {
    let mut breaches = Vec::new();
    for file in files() {
        for (number, line) in file.code() {
            if line.contains("super::") {
                breaches.push(format!("{}:{number}: write crate::… instead of super::", file.path));
            }
            let derives = line.contains("derive(") && line.contains("ialize");
            if derives && !SERDE.iter().any(|place| file.path.starts_with(place)) {
                breaches.push(format!("{}:{number}: serde outside of the edges", file.path));
            }
        }
    }
    complain(&breaches);
}

#[test]
fn unsafe_code_stands_in_one_file() {
    let allowed = |file: &File| file.text.contains("#![expect(unsafe_code");
    let places: Vec<String> =
        files().iter().filter(|file| allowed(file)).map(|file| file.path.clone()).collect();
    assert!(places.len() <= 1, "unsafe code in {places:?}");
}

#[test]
fn only_named_tasks_are_spawned() {
    let mut breaches = Vec::new();
    for file in files().iter().filter(|file| file.path != "src/transport/tasks.rs" && !file.is_test()) {
        for (number, line) in file.product() {
            if line.contains("tokio::spawn") || line.contains("unbounded_channel") {
                breaches
                    .push(format!("{}:{number}: spawn by transport::tasks, bound every queue", file.path));
            }
        }
    }
    complain(&breaches);
}

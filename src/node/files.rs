//! Writes secrets as files, so that nobody else ever sees them: each is made under a name of its own that only
//! root reads, given its owner and mode while it is empty, filled, and put in its place in one step.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use muster::engine::trust::contents::Item;

/// Links that are followed on the way to one file.
const LINKS_MAX: u32 = 40;

/// Where systemd looks for credentials that units load by name (systemd.exec(5), LoadCredential=).
const CREDENTIALS: &str = "/run/credstore";

/// Where a secret lies now.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) places: Vec<PathBuf>,
    /// Why root has it, and not whom the head named.
    pub(crate) roots: Option<String>,
}

/// Writes a secret below `root`: as a file, as a credential, or both. An image that lacks the owner has no program
/// that runs as it; root alone may read the file then.
pub(crate) fn write(root: &Path, item: &Item) -> Result<Written> {
    let mut written = Written::default();
    if let Some(path) = &item.path {
        let (owner, mode) = owner(root, &item.owner).map_or_else(
            |error| {
                written.roots = Some(format!("{error:#}"));
                ((0, 0), item.mode & 0o700)
            },
            |owner| (owner, item.mode),
        );
        let place =
            resolve(root, Path::new(path)).with_context(|| format!("{path} is no place for a file"))?;
        put(&place, mode, owner, &item.data).with_context(|| format!("writing {path}"))?;
        written.places.push(place);
    }
    if let Some(name) = &item.credential {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
        ensure!(
            !name.is_empty() && name.len() < 128 && name.chars().all(plain) && !name.starts_with('.'),
            "the credential's name {name:?} is malformed"
        );
        let folder = resolve(root, Path::new(CREDENTIALS))?;
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&folder).context("making the folder of credentials")?;
        fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        let place = folder.join(name);
        put(&place, 0o400, (0, 0), &item.data).with_context(|| format!("writing the credential {name}"))?;
        written.places.push(place);
    }
    Ok(written)
}

/// Puts a file in its place.
pub(crate) fn put(place: &Path, mode: u32, (user, group): (u32, u32), data: &[u8]) -> Result<()> {
    let folder = place.parent().context("it has no folder")?;
    let name = place.file_name().and_then(|name| name.to_str()).context("it has no name")?;
    DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    let staged = folder.join(format!(".{name}.muster-{}", std::process::id()));
    let made = fill(&staged, mode, (user, group), data).and_then(|()| Ok(fs::rename(&staged, place)?));
    if made.is_err() {
        let _none_is_left = fs::remove_file(&staged);
    }
    made
}

fn fill(staged: &Path, mode: u32, (user, group): (u32, u32), data: &[u8]) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(staged)?;
    fchown(file.as_fd(), Some(user), Some(group))?;
    file.set_permissions(Permissions::from_mode(mode & 0o777))?;
    file.write_all(data)?;
    Ok(file.sync_all()?)
}

/// Where a path of the node's system lies, seen from here: links are followed as that system will follow them. Its
/// `/run` is ours, since an initramfs hands it over.
pub(crate) fn resolve(root: &Path, path: &Path) -> Result<PathBuf> {
    ensure!(path.is_absolute(), "the path is not absolute");
    let run_is_ours = root != Path::new("/") && Path::new("/run").is_dir() && root.join("run").is_dir();
    let mut pending: Vec<PathBuf> = pieces(path)?;
    let mut inside = PathBuf::from("/");
    let mut links = 0;
    while let Some(piece) = pending.pop() {
        if piece == Path::new("..") {
            inside.pop();
            continue;
        }
        let next = inside.join(&piece);
        let here = place(root, &next, run_is_ours);
        let is_last = pending.is_empty();
        match fs::symlink_metadata(&here) {
            // A link in the file's own place is replaced, not followed.
            Ok(found) if found.is_symlink() && !is_last => {
                links += 1;
                ensure!(links <= LINKS_MAX, "too many links");
                let target = fs::read_link(&here)?;
                if target.is_absolute() {
                    inside = PathBuf::from("/");
                }
                pending.extend(components(&target));
            }
            Ok(found) if !is_last && !found.is_dir() => bail!("{} is no folder", next.display()),
            Ok(_) => inside = next,
            Err(error) if error.kind() == ErrorKind::NotFound => inside = next,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(place(root, &inside, run_is_ours))
}

fn place(root: &Path, inside: &Path, run_is_ours: bool) -> PathBuf {
    if run_is_ours && inside.starts_with("/run") {
        return inside.to_owned();
    }
    root.join(inside.strip_prefix("/").unwrap_or(inside))
}

/// The pieces of a path from the head, the last first. None of them leads upwards.
fn pieces(path: &Path) -> Result<Vec<PathBuf>> {
    ensure!(!path.components().any(|piece| piece == Component::ParentDir), "the path leads upwards");
    let pieces = components(path);
    ensure!(!pieces.is_empty(), "the path names no file");
    Ok(pieces)
}

fn components(path: &Path) -> Vec<PathBuf> {
    let named = path.components().filter_map(|piece| match piece {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        _ => None,
    });
    let mut all: Vec<PathBuf> = named.collect();
    all.reverse();
    all
}

/// Numbers of `user:group`, by the files of the node's own system: the names of an initramfs are others.
fn owner(root: &Path, owner: &str) -> Result<(u32, u32)> {
    let (user, group) = owner.split_once(':').unwrap_or((owner, ""));
    let (user, own_group) = look_up(root, "etc/passwd", user)?;
    let group = match group {
        "" => own_group.context("the user's group is not known; write user:group")?,
        name => look_up(root, "etc/group", name)?.0,
    };
    Ok((user, group))
}

/// The number of a name, and the number behind it (a user's group).
fn look_up(root: &Path, file: &str, name: &str) -> Result<(u32, Option<u32>)> {
    if let Ok(number) = name.parse() {
        return Ok((number, None));
    }
    if name == "root" {
        return Ok((0, Some(0)));
    }
    let text = fs::read_to_string(root.join(file)).with_context(|| format!("reading /{file}"))?;
    let line = text.lines().find(|line| line.split(':').next() == Some(name));
    let line = line.with_context(|| format!("/{file} has no {name:?}"))?;
    let number = |index: usize| line.split(':').nth(index).and_then(|field| field.parse().ok());
    Ok((number(2).with_context(|| format!("/{file}: {name:?} has no number"))?, number(3)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;

    use muster::engine::trust::contents::Item;
    use zeroize::Zeroizing;

    use crate::files::{owner, resolve, write};

    fn item(path: &str, owner: &str) -> Item {
        Item {
            id: "munge".to_owned(),
            version: 1,
            path: Some(path.to_owned()),
            mode: 0o400,
            owner: owner.to_owned(),
            credential: None,
            data: Zeroizing::new(b"secret".to_vec()),
        }
    }

    fn me() -> String {
        let made = tempfile::NamedTempFile::new().unwrap();
        let metadata = made.as_file().metadata().unwrap();
        use std::os::unix::fs::MetadataExt as _;
        format!("{}:{}", metadata.uid(), metadata.gid())
    }

    #[test]
    fn a_file_has_its_mode_and_its_content_and_leaves_nothing_beside_it() {
        let root = tempfile::tempdir().unwrap();
        let written = write(root.path(), &item("/etc/munge/munge.key", &me())).unwrap();
        let place = root.path().join("etc/munge/munge.key");
        assert_eq!((written.places.as_slice(), written.roots), (std::slice::from_ref(&place), None));
        assert_eq!(fs::read(&place).unwrap(), b"secret");
        assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o7777, 0o400);
        write(root.path(), &item("/etc/munge/munge.key", &me())).unwrap();
        assert_eq!(fs::read_dir(place.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_whose_owner_the_image_lacks_is_roots_alone() {
        let root = tempfile::tempdir().unwrap();
        let mut munge = item("/etc/munge/munge.key", "munge:munge");
        munge.mode = 0o440;
        let written = write(root.path(), &munge);
        if me() != "0:0" {
            assert!(written.is_err(), "only root gives files to root");
            return;
        }
        let written = written.unwrap();
        assert!(written.roots.unwrap().contains("/etc/passwd"));
        let made = fs::metadata(&written.places[0]).unwrap();
        assert_eq!(made.permissions().mode() & 0o7777, 0o400);
    }

    #[test]
    fn links_are_followed_inside_the_root_and_never_out_of_it() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("data")).unwrap();
        fs::create_dir_all(root.path().join("var")).unwrap();
        symlink("/data", root.path().join("var/state")).unwrap();
        symlink("../../../../../../data", root.path().join("up")).unwrap();
        symlink("loop", root.path().join("loop")).unwrap();
        let inside = |path: &str| resolve(root.path(), Path::new(path));
        assert_eq!(inside("/var/state/key").unwrap(), root.path().join("data/key"));
        assert_eq!(inside("/up/key").unwrap(), root.path().join("data/key"));
        assert!(inside("/loop/key").is_err());
        for bad in ["etc/key", "/etc/../../key", "/"] {
            assert!(inside(bad).is_err(), "{bad}");
        }
        // A link where the file goes is replaced.
        symlink("/etc/shadow", root.path().join("data/link")).unwrap();
        write(root.path(), &item("/data/link", &me())).unwrap();
        assert!(!fs::symlink_metadata(root.path().join("data/link")).unwrap().is_symlink());
    }

    #[test]
    fn owners_are_those_of_the_nodes_own_system() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/passwd"), "root:x:0:0::/:\nmunge:x:991:988::/:\n").unwrap();
        fs::write(root.path().join("etc/group"), "munge:x:988:\nslurm:x:64030:\n").unwrap();
        assert_eq!(owner(root.path(), "munge:slurm").unwrap(), (991, 64030));
        assert_eq!(owner(root.path(), "munge").unwrap(), (991, 988));
        assert_eq!(owner(root.path(), "root:root").unwrap(), (0, 0));
        assert_eq!(owner(root.path(), "7:8").unwrap(), (7, 8));
        assert!(owner(root.path(), "nobody:munge").is_err());
        assert!(owner(root.path(), "munge:nobody").is_err());
    }
}

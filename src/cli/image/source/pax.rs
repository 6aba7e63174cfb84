//! Extension records of archive entries (POSIX.1-2008, pax, "Extended Header"): long names, sizes, extended
//! attributes.
//!
//! Read here and not by the `tar` crate: its reader (0.4.46) splits records at line feeds, so that an attribute with
//! one in its value, as capabilities have, ends the records or makes up new ones.

use anyhow::{Context as _, bail, ensure};

use crate::base::limits::IMAGE_PATH_BYTES_MAX;

/// Where extended attributes stand; star, GNU tar and container engines write them so.
const XATTR: &str = "SCHILY.xattr.";

/// Namespaces that SquashFS and EROFS hold; ACLs are in `system.`.
const NAMESPACES: [&str; 3] = ["user.", "trusted.", "security."];

/// What the records say of the entry that follows.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
    pub(crate) mtime: Option<u64>,
    pub(crate) xattrs: Vec<(String, Vec<u8>)>,
    /// There are attributes that no root image can hold.
    pub(crate) left_out: bool,
    /// The entry's octets are a map and what is not hole: not read here.
    pub(crate) sparse: bool,
}

impl Records {
    /// Reads the records of one header. Later ones win.
    pub(crate) fn add(&mut self, mut rest: &[u8]) -> anyhow::Result<()> {
        while !rest.is_empty() {
            let (key, value, next) = record(rest).context("malformed pax record")?;
            self.take(key, value).with_context(|| format!("pax record {key:?}"))?;
            rest = next;
        }
        Ok(())
    }

    fn take(&mut self, key: &str, value: &[u8]) -> anyhow::Result<()> {
        match key {
            "path" => self.path = Some(name(value)?),
            "linkpath" => self.link = Some(name(value)?),
            "size" => self.size = Some(number(value)?),
            "uid" => self.uid = Some(number(value)?),
            "gid" => self.gid = Some(number(value)?),
            // Before 1970 and fractions of a second are nothing that SquashFS could hold.
            "mtime" if value.starts_with(b"-") => self.mtime = Some(0),
            "mtime" => self.mtime = Some(number(value.split(|c| *c == b'.').next().unwrap_or(value))?),
            _ if key.starts_with("GNU.sparse.") || key == "SCHILY.realsize" => self.sparse = true,
            _ if key.starts_with("SCHILY.acl.") || key == "RHT.security.selinux" => self.left_out = true,
            _ => {
                if let Some(attribute) = key.strip_prefix(XATTR) {
                    self.attribute(attribute, value);
                }
            }
        }
        Ok(())
    }

    fn attribute(&mut self, name: &str, value: &[u8]) {
        if NAMESPACES.iter().any(|space| name.starts_with(space)) {
            self.xattrs.retain(|(other, _)| other != name);
            self.xattrs.push((name.to_owned(), value.to_owned()));
        } else {
            self.left_out = true;
        }
    }
}

/// Splits `LENGTH KEY=VALUE\n` off; the length counts itself and the line feed.
fn record(rest: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let space = rest.iter().take(20).position(|c| *c == b' ')?;
    let length: usize = std::str::from_utf8(&rest[..space]).ok()?.parse().ok()?;
    let body = rest.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|c| *c == b'=')?;
    Some((std::str::from_utf8(&body[..equals]).ok()?, &body[equals + 1..], &rest[length..]))
}

fn number(value: &[u8]) -> anyhow::Result<u64> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    if text.is_empty() || !text.bytes().all(|c| c.is_ascii_digit()) {
        bail!("expected a number");
    }
    text.parse().context("the number is too large")
}

fn name(value: &[u8]) -> anyhow::Result<Vec<u8>> {
    ensure!(value.len() <= IMAGE_PATH_BYTES_MAX, "longer than {IMAGE_PATH_BYTES_MAX} octets");
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests {
    use crate::cli::image::source::pax::Records;

    fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let rest = key.len() + value.len() + 3;
        let length = (rest..rest + 6).find(|n| rest + n.to_string().len() == *n).unwrap();
        [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
    }

    #[test]
    fn an_attribute_with_line_feeds_hides_and_makes_up_nothing() {
        let value = b"\x01\n\n12 path=evil\n\0";
        let bytes = [record("SCHILY.xattr.security.capability", value), record("path", b"good")].concat();
        let mut records = Records::default();
        records.add(&bytes).unwrap();
        assert_eq!(records.path.as_deref(), Some(&b"good"[..]));
        assert_eq!(records.xattrs, [("security.capability".to_owned(), value.to_vec())]);
        assert!(!records.left_out);
    }

    #[test]
    fn numbers_times_and_what_cannot_be_held_are_told() {
        let mut records = Records::default();
        let bytes = [
            record("size", b"8589934593"),
            record("mtime", b"1700000000.123"),
            record("SCHILY.acl.access", b"user::rwx"),
            record("GNU.sparse.major", b"1"),
        ];
        records.add(&bytes.concat()).unwrap();
        assert_eq!((records.size, records.mtime), (Some(8_589_934_593), Some(1_700_000_000)));
        assert!(records.left_out && records.sparse);
        for bad in [&b"5 a"[..], b"99 path=x\n", b"x path=x\n", b"0 =\n", b"10 path=xx\n0", b"10 size=-1\n"] {
            assert!(Records::default().add(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
